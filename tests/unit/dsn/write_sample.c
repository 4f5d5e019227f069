/* Writes the report of a sample to standard output, for check_reports. */
#include "samples.h"

#include <stdio.h>

int main(int argc, char **argv) {
    for (size_t i = 0; argc == 2 && i < sample_count; i++) {
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        bool utf8, bits8;
        if (!str_eq(str_of(argv[1]), str_of(samples[i].name)))
            continue;
        if (dsn_build(&samples[i].facts, &out, &utf8, &bits8) != 0)
            return 1;
        return fwrite(out.at, 1, out.len, stdout) == out.len ? 0 : 1;
    }
    for (size_t i = 0; i < sample_count; i++)
        fprintf(stderr, "%s\n", samples[i].name);
    return 2;
}
