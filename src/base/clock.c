#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_ms(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void) { return read_ms(CLOCK_REALTIME); }
int64_t clock_mono_ms(void) { return read_ms(CLOCK_MONOTONIC); }

static struct tm utc(int64_t wall_ms, int *ret_ms) {
    int64_t ms = wall_ms % 1000;
    if (ms < 0)
        ms += 1000;
    time_t seconds = (time_t)((wall_ms - ms) / 1000);
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    *ret_ms = (int)ms;
    return tm;
}

const char *clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]) {
    int ms;
    struct tm tm = utc(wall_ms, &ms);
    size_t n = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%03uZ", (unsigned)ms % 1000u);
    return out;
}

const char *clock_rfc5322(int64_t wall_ms, char out[CLOCK_RFC5322_SIZE]) {
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int ms;
    struct tm tm = utc(wall_ms, &ms);
    snprintf(out, CLOCK_RFC5322_SIZE, "%.3s, %d %.3s %d %02d:%02d:%02d +0000", days + 3 * tm.tm_wday,
             tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return out;
}

static const int64_t YEAR_10000 = INT64_C(253402300800000);

/* timegm makes March 3 of February 31. */
static bool in_calendar(struct tm tm) {
    int day = tm.tm_mday;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    timegm(&tm);
    return tm.tm_mday == day;
}

bool clock_parse_rfc3339(struct str s, int64_t *ret_wall_ms) {
    char text[40];
    if (s.len >= sizeof text)
        return false;
    if (s.len)
        memcpy(text, s.at, s.len);
    text[s.len] = 0;
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%d", &tm);
    if (!rest)
        return false;
    int ms = 0;
    if (*rest == 'T' || *rest == ' ') {
        rest = strptime(rest + 1, "%H:%M:%S", &tm);
        if (!rest)
            return false;
        if (*rest == '.') {
            int scale = 100;
            for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
                ms += (*rest - '0') * scale;
        }
        if (*rest == 'Z')
            rest++;
    }
    if (*rest || !in_calendar(tm))
        return false;
    int64_t wall_ms = (int64_t)timegm(&tm) * 1000 + ms;
    if (wall_ms >= YEAR_10000) /* by a leap second */
        return false;
    *ret_wall_ms = wall_ms;
    return true;
}
