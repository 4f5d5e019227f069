/* model.h - what must be true of a spool after any crash, whatever it went through.
 *
 * The model knows each message and outcome that was handed over, and which were
 * acknowledged. model_verify opens what a crash left and compares: acknowledged
 * messages are there, whole, with their acknowledged outcomes; others are there
 * whole or not at all; no damage is reported.
 */
#pragma once
#include <pthread.h>

#include "mail.h"
#include "spool/simdisk.h"

enum { MODEL_MESSAGES = 512, MODEL_RECIPIENTS = 4 };

struct model_recipient {
    bool end_sent, ended;
    int64_t deferrals_sent, deferral; /* sent: how many; deferral: the last that was acknowledged */
};

struct model_message {
    bool sent, acked,
        failed; /* failed: an error was told; gone for good after the next acknowledged commit */
    bool dead;  /* was not there after a recovery: may never come back */
    uint64_t message;
    struct mail_shape shape;
    struct model_recipient recipients[MODEL_RECIPIENTS];
};

struct facts {
    struct model_message messages[MODEL_MESSAGES];
    uint64_t count;
};

struct model {
    pthread_mutex_t lock;
    pthread_cond_t quiet;
    struct facts facts;
    unsigned under_way;
    uint32_t segment_size;
    uint64_t disk_limit; /* 0: none */
    uint64_t states;     /* that were verified */
    char why[256];       /* the first thing that was wrong; empty: nothing */
};

void model_init(struct model *);
void model_free(struct model *);
/* A number below `below`; the same row for the same start. */
uint64_t draw(uint64_t *chance, uint64_t below);

/* Hands over the next message; returns its number. */
uint64_t model_send(struct model *, struct spool *, const struct mail_shape *);
/* An outcome of a message that was acknowledged; false when it was not (yet). */
bool model_end(struct model *, struct spool *, uint64_t number, uint32_t recipient);
bool model_defer(struct model *, struct spool *, uint64_t number, uint32_t recipient);
/* Waits until at most `under_way` of all these have no answer. */
void model_wait(struct model *, unsigned under_way);

/* Does what `disk` holds agree with the facts? `reopen`: also by opening it for writing, with bodies read
 * back and one more message. False: *why says what is wrong. */
bool model_verify(struct model *, const struct facts *, struct simdisk *disk, bool reopen);
/* Opens the spool; what was recovered counts as acknowledged, what was not is dead. */
struct spool *model_open(struct model *, struct simdisk *);
