#include "base/trace_id.h"

#include <stdlib.h>
#include <sys/random.h>

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

struct trace_id trace_id_new(int64_t wall_ms) {
    struct trace_id id = {0};
    unsigned char random[10];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        abort();
    for (int i = 0; i < 10; i++)
        id.text[i] = digits[(uint64_t)wall_ms >> (5 * (9 - i)) & 31];
    for (int i = 0; i < 16; i++) {
        int bit = i * 5, byte = bit / 8, shift = bit % 8;
        unsigned two = (unsigned)random[byte] << 8 | (byte + 1 < 10 ? random[byte + 1] : 0u);
        id.text[10 + i] = digits[two >> (11 - shift) & 31];
    }
    return id;
}

bool trace_id_valid(struct str s) {
    if (s.len != TRACE_ID_LEN)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!(s.at[i] >= '0' && s.at[i] <= '9') && !(s.at[i] >= 'A' && s.at[i] <= 'Z'))
            return false;
    return true;
}
