/* mail.h - messages for the tests of the spool: made from a number, and known again. */
#pragma once
#include "spool/spool.h"
#include "spool/spool_io.h"

struct mail_shape {
    uint32_t groups, recipients; /* recipients: of each group */
    uint64_t size;               /* of the body */
    size_t prefix;               /* of each group's header */
};

/* The message of that number; all views are in the arena. */
struct spool_message mail_make(struct arena *, uint64_t number, const struct mail_shape *);
/* Byte `at` of its body. */
char mail_byte(uint64_t number, uint64_t at);
/* A body that was handed over whole, waiting as needed. */
struct spool_body *mail_body(struct spool *, uint64_t number, uint64_t size, int *ret_error);
/* The number of a message that came back. */
uint64_t mail_number(const struct spool_message *);
bool mail_equal(const struct spool_message *, const struct spool_message *);

/* What a commit or an outcome called back with; one may wait for it. */
struct answer {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    unsigned awaited;
    int error;
    uint64_t message;
};
void answer_init(struct answer *);
void answer_free(struct answer *);
void answer_message(void *answer, int error, uint64_t message);
void answer_outcome(void *answer, int error);
int answer_wait(struct answer *);

/* Commits and waits. */
int mail_commit(struct spool *, uint64_t number, const struct mail_shape *, uint64_t *ret_message);
/* An outcome, and waits. */
int mail_outcome(struct spool *, uint64_t message, uint32_t recipient, enum spool_fate);
/* 0 when the body reads back as made. */
int mail_read_back(struct spool *, uint64_t message, uint64_t number, const struct mail_shape *);
