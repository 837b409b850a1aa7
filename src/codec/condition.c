/* condition.c: HTTP dates, entity tags, byte ranges: text <-> meaning.
 *
 * What is not understood is told as such and the caller answers as if it were not there, as RFC 9110 wants.
 * Several ranges are answered with the whole: allowed, and an attack less. Pure functions. */
#include "lastack/condition.h"

#include "codec/http1_chars.h"

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* Days since 1970 of a date in the Gregorian calendar, and back (H. Hinnant). */
static int64_t days_of(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = y / 400;
    unsigned yoe = (unsigned)(y - era * 400), doy = (153 * (m + (m > 2 ? -3u : 9u)) + 2) / 5 + d - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static void date_of(int64_t z, unsigned *y, unsigned *m, unsigned *d)
{
    z += 719468;
    int64_t era = z / 146097;
    unsigned doe = (unsigned)(z - era * 146097), yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *d = doy - (153 * mp + 2) / 5 + 1;
    *m = mp < 10 ? mp + 3 : mp - 9;
    *y = (unsigned)(yoe + era * 400) + (*m <= 2);
}

static char *put2(char *p, unsigned v)
{
    *p++ = (char)('0' + v / 10 % 10);
    *p++ = (char)('0' + v % 10);
    return p;
}

struct la_slice la_http_date_write(char out[LA_HTTP_DATE], int64_t t)
{
    const int64_t most = 253402300799; /* the end of 9999 */
    t = t < 0 ? 0 : t > most ? most : t;
    int64_t day = t / 86400;
    unsigned s = (unsigned)(t % 86400), y, m, d;
    date_of(day, &y, &m, &d);
    char *p = out;
    memcpy(p, days + (day + 4) % 7 * 3, 3);
    memcpy(p + 3, ", ", 2);
    p = put2(p + 5, d);
    *p++ = ' ';
    memcpy(p, months + (m - 1) * 3, 3);
    p[3] = ' ';
    p = put2(put2(p + 4, y / 100), y % 100);
    *p++ = ' ';
    p = put2(p, s / 3600);
    *p++ = ':';
    p = put2(p, s / 60 % 60);
    *p++ = ':';
    p = put2(p, s % 60);
    memcpy(p, " GMT", 5);
    return la_slice(out, LA_HTTP_DATE - 1);
}

/* Matches form: a digit 0-9 into the field named by y, d, h, m, s; 'N' a month's name; 'A' a day's; ' ' of
 * asctime's day as 'D'. */
static bool matches(struct la_slice s, const char *form, unsigned v[256])
{
    size_t i = 0;
    for (; *form; form++) {
        if (*form == 'N' || *form == 'A') {
            const char *names = *form == 'N' ? months : days;
            size_t count = (*form == 'N' ? sizeof months : sizeof days) / 3, k = 0;
            while (k < count && (s.n - i < 3 || memcmp(names + 3 * k, s.p + i, 3) != 0))
                k++;
            if (k == count)
                return false;
            v[(unsigned char)*form] = (unsigned)k + 1;
            i += 3;
        } else if (i == s.n) {
            return false;
        } else if (strchr("ydhms", *form) || (*form == 'D' && s.p[i] != ' ')) {
            unsigned char f = (unsigned char)(*form == 'D' ? 'd' : *form);
            if (!la_char_is(s.p[i], LA_CHAR_DIGIT))
                return false;
            v[f] = v[f] * 10 + (unsigned)(s.p[i++] - '0');
        } else if (*form == 'D') {
            i++;
        } else if (s.p[i++] != *form) {
            return false;
        }
    }
    return i == s.n;
}

bool la_http_date_read(struct la_slice s, int64_t *t)
{
    static const char *const forms[] = {"A, dd N yyyy hh:mm:ss GMT", "A N Dd hh:mm:ss yyyy", ", dd-N-yy hh:mm:ss GMT"};
    static const unsigned char length[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *comma = s.n ? memchr(s.p, ',', s.n) : NULL; /* RFC 850 has the day's full name before it */
    for (size_t i = 0; i < la_count(forms); i++) {
        unsigned v[256] = {0};
        struct la_slice at = s;
        if (forms[i][0] == ',' && comma)
            at = la_slice(comma, s.n - (size_t)(comma - s.p));
        if (!matches(at, forms[i], v))
            continue;
        unsigned y = v['y'];
        if (forms[i][0] == ',')
            y += y < 70 ? 2000 : 1900;
        bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        if (y < 1970 || v['d'] < 1 || v['d'] > length[v['N'] - 1] || (v['N'] == 2 && v['d'] == 29 && !leap) ||
            v['h'] > 23 || v['m'] > 59 || v['s'] > 60)
            return false;
        *t = days_of(y, v['N'], v['d']) * 86400 + v['h'] * 3600 + v['m'] * 60 + v['s'];
        return true;
    }
    return false;
}

/* An entity tag may hold commas, so the list is walked by its quotes. */
bool la_http_etag_in(struct la_slice list, struct la_slice tag, bool weak)
{
    const char *p = list.p, *end = list.p + list.n;
    if (la_slice_eq(list, LA_SLICE("*")))
        return true;
    while (p < end) {
        while (p < end && (la_char_is_ows(*p) || *p == ','))
            p++;
        bool is_weak = end - p >= 2 && p[0] == 'W' && p[1] == '/';
        const char *open = is_weak ? p + 2 : p;
        if (open >= end || *open != '"')
            return false;
        const char *close = memchr(open + 1, '"', (size_t)(end - open - 1));
        if (close == NULL)
            return false;
        if ((weak || !is_weak) && la_slice_eq(la_slice(open, (size_t)(close + 1 - open)), tag))
            return true;
        p = close + 1;
    }
    return false;
}

/* Digits at *p; more than fit are the largest number. False: none. */
static bool number(const char **p, const char *end, uint64_t *out)
{
    const char *start = *p;
    *out = 0;
    for (; *p < end && la_char_is(**p, LA_CHAR_DIGIT); (*p)++) {
        unsigned d = (unsigned)(**p - '0');
        *out = *out > (UINT64_MAX - d) / 10 ? UINT64_MAX : *out * 10 + d;
    }
    return *p > start;
}

enum la_http_range la_http_range_read(struct la_slice value, uint64_t size, uint64_t *from, uint64_t *to)
{
    const struct la_slice unit = LA_SLICE("bytes=");
    if (value.n <= unit.n || !la_slice_ieq(la_slice(value.p, unit.n), unit) || memchr(value.p, ',', value.n))
        return LA_RANGE_ALL;
    const char *p = value.p + unit.n, *end = value.p + value.n;
    uint64_t last;
    while (p < end && la_char_is_ows(*p))
        p++;
    bool has_first = number(&p, end, from);
    if (p == end || *p++ != '-')
        return LA_RANGE_ALL;
    bool has_last = number(&p, end, &last);
    if (p != end || (!has_first && !has_last) || (has_first && has_last && last < *from))
        return LA_RANGE_ALL;
    if (!has_first) { /* the last so many */
        *from = last < size ? size - last : 0;
        *to = size;
        return last == 0 || size == 0 ? LA_RANGE_WRONG : LA_RANGE_PART;
    }
    *to = has_last && last < size ? last + 1 : size;
    return *from >= size ? LA_RANGE_WRONG : LA_RANGE_PART;
}
