/* seen.c: scripts that were there a moment ago. One slot for each hash of a path; the last one noted has it. One thread. */
#include "seen.h"

#include "lastack/ring.h"

static size_t slot_of(struct la_slice path)
{
    uint32_t h = la_keyhash(LA_HASH_FNV1A_32, path);
    return (h ^ h >> 16) % LA_SEEN_SLOTS;
}

bool la_seen_has(const struct la_seen *s, struct la_slice root, struct la_slice path, uint64_t now_ns)
{
    size_t i = slot_of(path);
    return now_ns < s->slot[i].until_ns && s->slot[i].root_n == root.n && s->slot[i].path_n == path.n &&
           memcmp(s->slot[i].text, root.p, root.n) == 0 && memcmp(s->slot[i].text + root.n, path.p, path.n) == 0;
}

void la_seen_note(struct la_seen *s, struct la_slice root, struct la_slice path, uint64_t now_ns)
{
    size_t i = slot_of(path);
    if (root.n + path.n > LA_SEEN_TEXT)
        return;
    s->slot[i].until_ns = now_ns + LA_SEEN_NS;
    s->slot[i].root_n = (uint16_t)root.n;
    s->slot[i].path_n = (uint16_t)path.n;
    memcpy(s->slot[i].text, root.p, root.n);
    memcpy(s->slot[i].text + root.n, path.p, path.n);
}
