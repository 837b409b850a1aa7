/* value.c: numbers, sizes, durations, booleans, and the name for a misspelt one or for what others call it.
 *
 * Pure functions. Sizes are powers of 1024 whatever the letter case ("64k", "64KiB"); decimal "KB" is refused
 * because it means two things. Durations need a unit ("5s"), except 0. */
#include "conf/value.h"

bool la_value_bool(struct la_slice text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < la_count(words); i++) {
        if (la_slice_ieq(text, la_slice_str(words[i]))) {
            *out = i % 2;
            return true;
        }
    }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits from *i on. False on overflow. */
static bool digits(struct la_slice s, size_t *i, uint64_t *out)
{
    uint64_t value = 0;
    bool fits = true;
    for (; *i < s.n && is_digit(s.p[*i]); (*i)++) {
        uint64_t d = (uint64_t)(s.p[*i] - '0');
        if (value > (UINT64_MAX - d) / 10)
            fits = false;
        else
            value = value * 10 + d;
    }
    *out = value;
    return fits;
}

int la_value_int(struct la_slice text, uint64_t *out)
{
    size_t i = text.n > 1 && text.p[0] == '-';
    size_t start = i;
    bool fits = digits(text, &i, out);
    if (i == start || i != text.n)
        return -1;
    return fits && start == 0 ? 1 : 0;
}

const char *la_value_size(struct la_slice text, uint64_t *bytes)
{
    static const char wrong[] = "is not a size, must be such as 65536, 64KiB or 1GiB";
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0},     {"b", 0},  {"k", 10},  {"ki", 10},  {"kib", 10}, {"m", 20},  {"mi", 20},
                 {"mib", 20}, {"g", 30}, {"gi", 30}, {"gib", 30}, {"t", 40},   {"ti", 40}, {"tib", 40}};
    size_t i = 0;
    if (!digits(text, &i, bytes))
        return "is too large";
    if (i == 0)
        return wrong;
    struct la_slice unit = la_slice(text.p + i, text.n - i);
    while (unit.n && unit.p[0] == ' ')
        unit = la_slice(unit.p + 1, unit.n - 1);
    if (unit.n == 2 && (unit.p[1] == 'B' || unit.p[1] == 'b') && strchr("kKmMgGtT", unit.p[0]))
        return "has a unit of two meanings, write KiB, MiB or GiB (powers of 1024)";
    for (size_t k = 0; k < la_count(units); k++) {
        if (!la_slice_ieq(unit, la_slice_str(units[k].name)))
            continue;
        if (*bytes > UINT64_MAX >> units[k].shift)
            return "is too large";
        *bytes <<= units[k].shift;
        return NULL;
    }
    return wrong;
}

const char *la_value_duration(struct la_slice text, uint64_t *ms)
{
    static const char wrong[] = "is not a duration, must be such as 500ms, 5s, 1m30s or 1h";
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    uint64_t total = 0;
    size_t i = 0;
    while (i < text.n) {
        uint64_t number, unit = 0;
        size_t start = i;
        if (!digits(text, &i, &number))
            return "is too long";
        if (i == start)
            return wrong;
        if (i == text.n && start == 0)
            return number == 0 ? (*ms = 0, NULL) : "has no unit, write for example 5s or 500ms";
        size_t name = i;
        while (i < text.n && !is_digit(text.p[i]))
            i++;
        for (size_t k = 0; k < la_count(units); k++)
            if (la_slice_eq(la_slice(text.p + name, i - name), la_slice_str(units[k].name)))
                unit = units[k].ms;
        if (unit == 0)
            return wrong;
        if (number > (UINT64_MAX / 2 - total) / unit)
            return "is too long";
        total += number * unit;
    }
    *ms = total;
    return text.n ? NULL : wrong;
}

const char *la_value_size_text(struct la_arena *a, uint64_t bytes)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes && bytes % 1024 == 0 && unit + 1 < la_count(units)) {
        bytes /= 1024;
        unit++;
    }
    return la_arena_printf(a, "%llu%s", (unsigned long long)bytes, units[unit]);
}

const char *la_value_duration_text(struct la_arena *a, uint64_t ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    if (ms == 0)
        return "0";
    for (size_t i = 0; i < la_count(units); i++)
        if (ms % units[i].ms == 0)
            return la_arena_printf(a, "%llu%s", (unsigned long long)(ms / units[i].ms), units[i].name);
    return "0";
}

/* "Max-Age" and "max_age" are meant alike. */
static char fold(char c)
{
    return (char)(c == '-' || c == ' ' ? '_' : c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* Levenshtein with swaps of neighbours (optimal string alignment); both sides at most 48 bytes. */
static size_t distance(struct la_slice a, struct la_slice b)
{
    size_t row[3][49];
    for (size_t k = 0; k <= b.n; k++)
        row[0][k] = k;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (size_t k = 1; k <= b.n; k++) {
            size_t best = last[k - 1] + (a.p[i - 1] != b.p[k - 1]);
            best = la_min64(best, la_min64(last[k], now[k - 1]) + 1);
            if (i > 1 && k > 1 && a.p[i - 1] == b.p[k - 2] && a.p[i - 2] == b.p[k - 1])
                best = la_min64(best, before[k - 2] + 1);
            now[k] = best;
        }
    }
    return row[a.n % 3][b.n];
}

const char *la_value_translated(struct la_slice text, const char *const *names, size_t n)
{
    static const struct {
        const char *theirs, *ours;
    } words[] = {{"read", "response"}, {"read_timeout", "timeouts.response"}, {"connect_timeout", "timeouts.connect"},
                 {"backend", "upstream"}, {"proxy_pass", "upstream"}, {"bind", "address"}, {"location", "path"}, {"server_name", "host"},
                 {"headers", "request_headers"}, {"maxconn", "pool.max"}, {"max_conns", "pool.max"}, {"keepalive", "pool.max"},
                 {"check", "health"}, {"inter", "interval"}, {"fall", "unhealthy"}, {"rise", "healthy"},
                 {"max_fails", "passive.failures"}, {"fail_timeout", "passive.out"}, {"ssl", "tls"}};
    for (size_t i = 0; i < la_count(words); i++)
        for (size_t k = 0; la_slice_ieq(text, la_slice_str(words[i].theirs)) && k < n; k++) {
            size_t first = strcspn(words[i].ours, ".");
            if (strlen(names[k]) == first && memcmp(names[k], words[i].ours, first) == 0)
                return words[i].ours;
        }
    return NULL;
}

const char *la_value_nearest(struct la_slice text, const char *const *names, size_t n)
{
    const char *best = NULL;
    char folded[48];
    size_t least = text.n <= 5 ? 2 : 3; /* first distance that is too far */
    if (text.n == 0 || text.n > sizeof folded)
        return NULL;
    for (size_t i = 0; i < text.n; i++)
        folded[i] = fold(text.p[i]);
    for (size_t i = 0; i < n; i++) {
        struct la_slice name = la_slice_str(names[i]);
        char other[48];
        if (name.n == 0 || name.n > sizeof other)
            continue;
        for (size_t k = 0; k < name.n; k++)
            other[k] = fold(name.p[k]);
        size_t d = distance(la_slice(folded, text.n), la_slice(other, name.n));
        if (d < least && d < la_min64(text.n, name.n)) {
            least = d;
            best = names[i];
        }
    }
    return best;
}
