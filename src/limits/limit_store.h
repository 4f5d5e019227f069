/* limit_store.h - counters and restrictions on disk, so that a restart or a crash hands out no new allowance.
 *
 * A folder with a lock and segments NUMBER.limits (16 hex digits; limit_journal.h). Segments are only
 * appended to, and never again after a restart or a failed write: the next one begins. When the segments hold
 * more than twice what there is to know (and 4 MiB), a sweep writes everything that is known once more, a
 * part with each batch, beside what is new; when that is durable all segments from before it are removed,
 * oldest first. So no batch takes long, whatever the number of senders.
 *
 * What was appended is safe when its batch has come back without an error. Answer 250 after that, and no
 * crash hands out new allowance; answer before, and a power loss (not the end of the process) forgets at most
 * what was in the batch under way. The sync of a batch may run beside the spool's.
 *
 * Belongs to one worker, which owns what is kept too; only limit_batch_write runs elsewhere.
 */
#pragma once
#include "limits/limit_journal.h"
#include "spool/spool_io.h"

struct limit_store;
struct limit_batch;

struct limit_store_options {
    const char *dir;
    const struct spool_io *io; /* NULL: the real disk */
    struct limit_kept kept;    /* empty at first; must outlive the store */
    uint64_t segment_size;     /* a new segment begins beyond it; 0: 64 MiB */
    uint64_t slack;            /* what the segments may hold over twice what is known; 0: 4 MiB */
    uint32_t sweep_step;       /* senders that a sweep writes with each batch; 0: 1,024 */
    int64_t now;               /* wall ms */
    bool read_only; /* a look while nobody has it: changes nothing on disk; only close may follow */
};

/* Makes or locks the folder and reads what is in it into `kept`. Damage is counted, not fatal. On an error
 * *ret_why (in the arena) says what and where: BUSY another process has it; INVALID a later version wrote it;
 * IO, DENIED, FULL. Read-only: NOTFOUND nobody has ever counted there. */
[[nodiscard]] int limit_store_open(const struct limit_store_options *, struct arena *, struct str *ret_why,
                                   struct limit_journal_report *ret_report, struct limit_store **ret);
/* No batch may be under way; what was not taken is lost: take, write and settle first. NULL is fine; returns
 * NULL. */
struct limit_store *limit_store_close(struct limit_store *);

/* For limit_key. The same for as long as the folder lives. */
uint64_t limit_store_seed(const struct limit_store *);

/* Appends in memory; beside limit_table_settle, limit_tenants_settle, and after each change of a sender's
 * state. */
void limit_store_message(struct limit_store *, uint64_t key, int64_t now, int64_t turn,
                         const struct limit_bounds *, const struct limit_use *);
void limit_store_tenant(struct limit_store *, struct str tenant, int64_t now, uint32_t limit,
                        uint32_t external);
void limit_store_restriction(struct limit_store *, struct str name, const struct sender_state *);

/* What was appended since the last one, to be written; NULL: nothing, or one is under way. */
struct limit_batch *limit_store_take(struct limit_store *);
/* Writes and syncs; blocks: for an offload thread. 0 or SLUICE_E..., for limit_store_settle. */
[[nodiscard]] int limit_batch_write(struct limit_batch *);
/* Back on the owner, once for each take; the batch is gone then. After an error the next batch has the same
 * entries again, in another segment. */
void limit_store_settle(struct limit_store *, struct limit_batch *, int error);

/* Take, write, settle until nothing is left; blocks: for the end, and for tests. The first error. */
[[nodiscard]] int limit_store_flush(struct limit_store *);

struct limit_store_stats {
    uint64_t segments, bytes; /* on disk */
    uint64_t batches, failed, sweeps;
    uint64_t
        dropped; /* times that failures lasted so long that entries were given up; a sweep writes all again */
};
void limit_store_stats(const struct limit_store *, struct limit_store_stats *ret);
