/* samples.h - facts of reports that the tests and write_sample share. */
#pragma once
#include "dsn/dsn.h"

struct sample {
    const char *name;
    struct dsn_facts facts;
    bool utf8, bits8; /* what dsn_build must say */
};

extern const struct sample samples[];
extern const size_t sample_count;
