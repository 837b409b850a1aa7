/* advice.c: the recommended size of a server's pool, and the step towards what its backend bears.
 *
 * Owns nothing but the struct that its caller embeds. No clock, no I/O.
 *
 * Good path: counts come once a second; a span is over when it holds requests enough. Its mean at the backend goes into a
 * memory of the latest requests (so that a few slow ones are no change), the smallest of those is what the backend takes
 * alone. At work = requests per second x time. With room: what is at work at most, and twice its root, which
 * random arrivals hardly exceed. With none: as many as wait, unless the backend itself is what they would wait in.
 *
 * Too few requests in a minute: nothing changes. What cannot be learned: a backend that was never seen with less than
 * it bears; then `alone` is too high, and the pool is left as it is. */
#include "lastack/advice.h"

#include <math.h>

#define SPAN_SHORT_NS   2000000000ull /* with MANY requests */
#define SPAN_NS         10000000000ull /* with FEW */
#define SPAN_LONG_NS    60000000000ull /* with fewer: too little to tell */
#define MANY            2000
#define FEW             50
#define MEMORY          2000  /* requests: random times are then known to some 2 % */
#define LEARN           500   /* of them before they say what the backend takes alone */
#define STEP            1000  /* at one size, before the next step */
#define FADE            0.002 /* per 10 s, of the way from alone to now */
#define PEAK_FADE       0.02  /* per 10 s */
#define FULL            0.85  /* of the pool at work: dials and gaps between requests take the rest */
#define QUEUED          0.1   /* of the backend's time */
#define WAIT_LITTLE     0.05  /* of those at work, waiting in the backend: as good as none */
#define WAIT_MUCH       0.2
#define SHRINK_TRY      0.1   /* of the pool, before a shrink must have shown in the backend's time */
#define SLOWER          1.01

const char *la_advice_why_name(enum la_advice_why w)
{
    static const char *const name[LA_ADVICE_WHY_COUNT] = {
#define X(id, text) [LA_ADVICE_##id] = text,
        LA_ADVICE_WHYS(X)
#undef X
    };
    la_assert((unsigned)w < LA_ADVICE_WHY_COUNT);
    return name[w];
}

static bool full(const struct la_advice *a, unsigned max)
{
    return a->at_work >= FULL * max || (a->queue_us > QUEUED * a->backend_us && a->at_work >= max / 2.);
}

static bool waits_much(const struct la_advice *a)
{
    return a->waiting > fmax(2, WAIT_MUCH * a->at_work);
}

static unsigned with_peaks(double at_work)
{
    return (unsigned)fmax(1, ceil(at_work + 2 * sqrt(at_work)));
}

static void recommend(struct la_advice *a, unsigned max)
{
    a->why = LA_ADVICE_ENOUGH;
    a->size = with_peaks(a->peak);
    if (!full(a, max))
        return;
    if (waits_much(a)) {
        a->why = LA_ADVICE_BACKEND;
        a->size = (unsigned)fmax(1, ceil(a->at_work - a->waiting));
        return;
    }
    double wanted = a->at_work * (1 + a->queue_us / a->backend_us);
    unsigned size = with_peaks(fmin(wanted, 2. * max));
    a->why = LA_ADVICE_QUEUE;
    a->size = size < max + 1 ? max + 1 : size > 2 * max ? 2 * max : size;
}

/* The latest requests: those before count less, so that all together weigh MEMORY at most. */
static void remember(struct la_advice *a, double requests, double backend_us)
{
    double keep = fmax(0, 1 - requests / MEMORY);
    a->held = a->held * keep + requests;
    a->held_us = a->held_us * keep + backend_us;
    a->backend_us = a->held_us / a->held;
}

static void learn(struct la_advice *a, double tens_of_s)
{
    if (a->held < LEARN)
        return;
    if (a->alone_us <= 0 || a->backend_us < a->alone_us)
        a->alone_us = a->backend_us;
    else
        a->alone_us += (a->backend_us - a->alone_us) * fmin(1, FADE * tens_of_s);
}

bool la_advice_feed(struct la_advice *a, const struct la_advice_counts *now, unsigned max, uint64_t now_ns)
{
    if (now->requests < a->begun.requests || now->backend_us < a->begun.backend_us || now->queue_us < a->begun.queue_us)
        *a = (struct la_advice){0};
    if (a->begun_ns == 0) {
        a->begun_ns = now_ns;
        a->begun = *now;
        return false;
    }
    uint64_t ns = now_ns - a->begun_ns;
    double requests = (double)(now->requests - a->begun.requests), seconds = (double)ns / 1e9;
    bool over = ns >= SPAN_LONG_NS || (ns >= SPAN_NS && requests >= FEW) || (ns >= SPAN_SHORT_NS && requests >= MANY);
    if (!over)
        return false;
    double backend_us = (double)(now->backend_us - a->begun.backend_us), queue_us = (double)(now->queue_us - a->begun.queue_us);
    a->begun_ns = now_ns;
    a->begun = *now;
    a->per_second = requests / seconds;
    a->at_work = fmin(max, backend_us / 1e6 / seconds); /* a long one that ended now was at work before */
    if (requests < FEW) {
        a->why = LA_ADVICE_LITTLE;
        return true;
    }
    remember(a, requests, backend_us);
    learn(a, seconds / 10);
    a->queue_us = queue_us / requests;
    a->peak = fmax(a->at_work, a->peak * pow(1 - PEAK_FADE, seconds / 10));
    a->waiting = a->alone_us > 0 ? a->at_work * fmax(0, 1 - a->alone_us / a->backend_us) : 0;
    recommend(a, max);
    return true;
}

/* Smaller pools make a backend quicker when its connections waited for each other. When they did not, it became slower by
 * itself, and what it took before is no measure any more. */
static bool shrinks_in_vain(struct la_advice *a, unsigned max)
{
    if (a->shrunk_from == 0 || max > a->shrunk_from - fmax(2, SHRINK_TRY * a->shrunk_from))
        return false;
    double part = (double)max / a->shrunk_from;
    bool vain = a->backend_us > a->shrunk_us * (1 + part) / 2;
    a->shrunk_from = 0;
    if (vain)
        a->alone_us = a->backend_us;
    return vain;
}

static int step(struct la_advice *a, unsigned max, unsigned low, unsigned high)
{
    if (a->why == LA_ADVICE_UNKNOWN || a->why == LA_ADVICE_LITTLE || a->alone_us <= 0 || !full(a, max)) {
        a->shrunk_from = 0;
        return 0;
    }
    if (waits_much(a)) {
        if (shrinks_in_vain(a, max) || max <= low)
            return 0;
        if (a->shrunk_from == 0 || a->backend_us > a->shrunk_us * SLOWER) { /* still getting slower: that is not the shrinking's doing */
            a->shrunk_from = max;
            a->shrunk_us = a->backend_us;
        }
        return -1;
    }
    a->shrunk_from = 0;
    return a->waiting <= fmax(1, WAIT_LITTLE * a->at_work) && max < high ? 1 : 0;
}

int la_advice_step(struct la_advice *a, unsigned max, unsigned low, unsigned high)
{
    int by = a->held < STEP ? 0 : step(a, max, low, high);
    if (by)
        a->held = a->held_us = 0; /* at another size, other times */
    return by;
}
