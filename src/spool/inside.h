/* inside.h - how the files of this room share the spool.
 *
 * Two locks. `queue_lock` guards what submitters and the committer hand to each
 * other (entries, bodies). `lock` guards segments, index and counters. A thread
 * that holds one never takes the other. The write position, the batch and the
 * commit number are the committer's alone.
 */
#pragma once
#include "spool/format.h"
#include "spool/index.h"
#include "spool/spool_io.h"
#include <pthread.h>
#include <stdatomic.h>

enum {
    SPARES = 2,       /* segments that are ready; the last one is kept for outcomes */
    SPARES_MOST = 16, /* more than that are given back to the disk */
    BATCH_BYTES = 16 * 1024 * 1024,
    PARTS_UNDER_WAY = 4, /* of one body */
    RETRY_MS = 1000,     /* after the helper failed to make a segment */
};

struct segment {
    uint32_t slot;
    int handle;
    uint64_t generation, key, replaced;
    unsigned copy; /* of its header that counts: 0 or 1 */
    uint64_t end;  /* behind its last acknowledged commit */
    uint64_t commit;
    uint32_t live; /* messages that wait */
    uint32_t pins; /* parts of bodies under way or waiting, open readers */
    struct index index;
    struct segment **limbo; /* pinned: parts of messages that ended here with an outcome that isn't on disk */
    uint32_t limbo_count;
    uint8_t *refs; /* a bit a slot: segments whose messages' outcomes stand here and are needed */
    uint32_t refs_bytes, ref_count;
    bool used;                     /* recovery: holds records, or held some */
    bool noted;                    /* STATE_DEAD is durable: no outcome of its messages is needed */
    bool failed;                   /* a write or sync failed: nothing more is written to it */
    bool damaged;                  /* kept aside when it is through, not recycled */
    bool going;                    /* being recycled, or to be removed after the next state */
    bool may_go;                   /* a durable state says that it is going */
    bool state_noted, state_going; /* what the state record says that is being written */
};

enum entry_kind { ENTRY_MESSAGE, ENTRY_PART, ENTRY_OUTCOME, ENTRY_STATE };

/* One record on its way to the disk. */
struct entry {
    struct entry *next;
    enum entry_kind kind;
    bool applied;    /* outcome: the index knows it already */
    struct buf head; /* SPOOL_HEADER bytes, then the head, padded */
    uint32_t head_len, head_crc, body_crc;
    struct buf content; /* body bytes, padded */
    uint32_t content_len;
    uint64_t charged;   /* against the memory limit */
    struct segment *at; /* where it was put */
    uint32_t place;
    struct spool_body *body; /* message, part */
    uint32_t part;           /* its number in the body */
    uint64_t message;        /* outcome */
    uint32_t recipient, recipients;
    enum spool_fate fate;
    union {
        void (*message_done)(void *arg, int error, uint64_t message);
        void (*outcome_done)(void *arg, int error);
    };
    void *arg;
    int error;
};

struct placed_part {
    struct part part;
    struct segment *at; /* pinned; NULL until it is written */
};

struct spool_body {
    struct spool *spool;
    struct buf gathered;
    uint64_t size, charged; /* charged: against the memory limit */
    uint64_t stream;
    /* Under queue_lock: */
    struct placed_part *parts;
    uint32_t part_count, part_cap, under_way;
    int error;
    bool aborted;
    void (*ready)(void *arg);
    void *ready_arg;
};

struct entry_list {
    struct entry *first, **last;
};

struct spool {
    struct spool_options options;
    const struct spool_io *io;
    char *dir;
    int dir_lock;
    uint64_t id;
    uint32_t part_size;
    uint64_t largest_body;
    bool readonly;

    pthread_mutex_t lock;
    pthread_cond_t helper_wake, spare_ready;
    struct segment **log; /* that hold or held records, by generation */
    uint32_t log_count, log_cap;
    struct segment **spare; /* by generation */
    uint32_t spare_count;
    uint32_t spare_cap;
    struct segment *current; /* the last of the log, or NULL: the next commit opens one */
    uint64_t next_generation;
    uint64_t stated; /* the newest segment whose state record is durable */
    atomic_bool helper_stop;
    int helper_error;     /* why there is no spare: SLUICE_E..., 0 */
    int64_t helper_retry; /* monotonic ms */
    unsigned failures;    /* commits in a row */
    struct spool_stats stats;

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_wake;
    struct entry_list queue;
    bool closing, poked;

    pthread_t committer, helper;
    bool threads;
    atomic_uint_fast64_t memory, streams;
    atomic_bool full;

    /* The committer's: */
    struct entry_list todo, late;
    struct buf state; /* the last state record, until the next commit has repeated it */
    uint64_t commit;  /* the last number used */
    bool sealed;
};

/* entry.c */
void entry_add(struct entry_list *, struct entry *);
struct entry *entry_take(struct entry_list *);
/* Moves all of `from` behind `to`. */
void entry_join(struct entry_list *to, struct entry_list *from);
struct entry *entry_new(enum entry_kind);
struct entry *entry_free(struct entry *);
/* Pads head and content, and takes their checksums. */
void entry_finish(struct entry *);
uint64_t entry_size(const struct entry *);

/* body.c */
void body_free(struct spool_body *);
/* Committer: a part was written, or not. */
void body_part_done(struct spool *, struct entry *, int error);

/* segment.c */
void segment_path(const struct spool *, uint32_t slot, const char *suffix, struct buf *ret);
struct segment *segment_free(struct spool *, struct segment *);
struct segment *segment_find(const struct spool *, uint64_t generation); /* locked */
void segment_log(struct spool *, struct segment *);                      /* locked: appends */
void segment_spare(struct spool *, struct segment *);                    /* locked */
void segment_refer(struct segment *holder, const struct segment *to);    /* locked */
bool segment_refers(const struct segment *holder, const struct segment *to);
void segment_forget(struct spool *, const struct segment *to); /* locked: no reference to it counts */
void segment_unpin(struct segment *);                          /* locked */
/* Locked: the messages of `g` are gone for a recovery too, so their parts may go. */
void segment_end_limbo(struct segment *g);
int segment_create(struct spool *, uint32_t slot, uint64_t generation, struct segment **ret);
int segment_recycle(struct spool *, const struct segment *, uint64_t generation, struct segment *ret);
/* Whatever can be freed: to the helper. Locked. */
void segment_settle(struct spool *);
void *helper_run(void *spool);

/* committer.c */
void spool_submit(struct spool *, struct entry *);
void *committer_run(void *spool);
/* The index; locked. */
void apply_message(struct spool *, struct segment *, uint32_t place, uint32_t recipients,
                   struct segment *const *pinned, uint32_t parts);
/* True when it waited until now. */
bool apply_end(struct spool *, uint64_t message, uint32_t recipient, bool durable);

/* commit.c: one commit; the committer's */
struct batch {
    struct entry_list entries;
    uint64_t bytes;
    uint32_t count;
    bool new_state;
};
/* The next segment becomes the current one; its state record is the first of the batch. */
void commit_open(struct spool *, struct batch *);
/* Adds a state record: a new one when it frees segments that are needed, or the last one again - one lost
 * block shall not lose it. Nothing when neither is due. */
void commit_state(struct spool *, struct batch *);
/* Puts the batch behind the end of the current segment and makes it durable. 0 or a negative errno. */
int commit_write(struct spool *, struct batch *);
int commit_sync(struct spool *);
void commit_add(struct batch *, struct entry *);
/* Locked: the batch is durable. */
void commit_settle(struct spool *, const struct batch *);
/* The current segment failed: nothing is written to it again. */
void commit_abandon(struct spool *, int result);
/* Proves, for a later recovery, that what stands before it was acknowledged. */
void commit_seal(struct spool *, bool closing);

/* files.c: the segments that are in the folder */
struct recovery {
    struct spool *spool;
    void (*damage)(void *arg, const struct spool_damage *);
    void (*waiting)(void *arg, const struct spool_recovered *);
    void *arg;
    struct arena *arena; /* for the length of the recovery */
    uint64_t records, messages, damages, waiting_messages, waiting_recipients;
    /* Set by files_open: what the newest state record says; a view in the arena. */
    struct str state;
    uint64_t state_generation;
    uint64_t *replaced; /* generations that were recycled */
    uint32_t replaced_count;
};
/* Opens what is there and puts it in the spool's log, by generation. */
int files_open(struct recovery *, struct arena *, struct str *ret_why);
/* What the newest state record says of a segment. */
bool files_state(const struct recovery *, uint64_t generation, struct segment_state *ret);
void report(struct recovery *, uint32_t slot, uint64_t offset, uint64_t length, const char *what,
            uint64_t message, struct str trace_id);

/* recover.c */
int spool_recover(struct recovery *, struct arena *, struct str *ret_why);

/* read.c */
struct found {
    struct segment *at;
    struct record_header header;
    struct str head;
};
/* The record at that place, checked, its head in the arena. */
int read_head(struct spool *, struct segment *, uint32_t place, bool nowait, struct arena *,
              struct found *ret);

/* spool.c */
/* Without threads, folder not locked. */
struct spool *spool_make(const struct spool_options *);
struct spool *spool_drop(struct spool *);
bool spool_segment_size_ok(uint64_t);
int spool_lock_dir(struct spool *, bool shared, struct arena *, struct str *ret_why);
/* A line in the log, and the last error of the statistics. `offset` 0: none. Not locked. */
void spool_trouble(struct spool *, enum log_level, const char *event, const char *path, uint64_t offset,
                   int errno_result);
/* Lets the committer look again at what it could not write. Not locked. */
void spool_poke(struct spool *);
