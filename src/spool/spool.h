/* spool.h - the durable log of accepted messages and of what became of them.
 *
 * One append-only log in segments; a thread of its own writes what has gathered
 * and syncs once for all who wait (group commit). A 250 may be sent when
 * spool_commit has called back with 0, never before (invariant 2).
 * Every function may be called from any thread, except where it says so; none
 * waits for the disk except spool_open, spool_close, spool_check and reads in
 * SPOOL_WAIT mode. Bytes on disk: docs/spool-format.md.
 */
#pragma once
#include "base/ip.h"
#include "base/log.h"
#include "base/mail_class.h"
#include "base/str.h"

struct spool;
struct spool_io;
struct spool_body;
struct spool_reader;

/* ---- What is stored: views, copied by spool_commit; in an arena after spool_read ---- */

enum { SPOOL_NOTIFY_NEVER = 1, SPOOL_NOTIFY_SUCCESS = 2, SPOOL_NOTIFY_FAILURE = 4, SPOOL_NOTIFY_DELAY = 8 };
enum { SPOOL_8BITMIME = 1, SPOOL_SMTPUTF8 = 2, SPOOL_BINARYMIME = 4 };
enum spool_ret { SPOOL_RET_NONE, SPOOL_RET_FULL, SPOOL_RET_HDRS };

/* Whatever else other rooms want to keep ("verdict", "spf", "forwarded-to"); unknown names are kept. */
struct spool_attribute {
    struct str name, value;
};

struct spool_recipient {
    struct str address; /* wire form: local@domain, where this copy goes */
    struct str orcpt;   /* as received, "rfc822;..."; empty: none (RFC 3461 4.2) */
    struct str via;     /* a connector's `deliver`; empty: by MX */
    uint8_t notify;     /* SPOOL_NOTIFY_ bits; 0: not given */
    const struct spool_attribute *attributes;
    size_t attribute_count;
};

/* Recipients that share class, pool, reverse-path and header. */
struct spool_group {
    enum mail_class mail_class;
    struct str pool, rule, reason;
    struct str reverse_path;  /* wire form; empty: null reverse-path */
    struct str header_prefix; /* bytes that stand before the body, for this group only */
    const struct spool_recipient *recipients;
    size_t recipient_count; /* at least 1 */
    const struct spool_attribute *attributes;
    size_t attribute_count;
};

struct spool_message {
    struct str trace_id;
    int64_t arrival; /* wall ms */
    struct str tenant, connector;
    struct str sender;      /* address of From: */
    struct str return_path; /* the reverse-path as received */
    struct str message_id;  /* with its angle brackets or as it stood */
    struct str subject;
    struct str helo;
    struct ip client_ip, original_client_ip;
    struct str verdict;
    struct str envid; /* RFC 3461 4.4 */
    enum spool_ret ret;
    uint8_t flags; /* SPOOL_8BITMIME ... */
    bool incoming; /* directionality: Incoming, else Originating */
    bool held;     /* from the start: its recipients wait for RELEASED, after a crash too */
    const struct spool_group *groups;
    size_t group_count; /* at least 1 */
    const struct spool_attribute *attributes;
    size_t attribute_count;
    uint64_t body_size; /* set by spool_read; spool_commit takes it from the body */
};

/* The value of a named attribute; empty when it isn't there. */
struct str spool_attribute_get(const struct spool_attribute *, size_t count, struct str name);

/* Recipients are counted from 0 through all groups, in order: that number names one in outcomes and after a
 * restart. NULL when there are fewer. ret_group (may be NULL) gets the number of its group. */
const struct spool_recipient *spool_recipient_at(const struct spool_message *, uint32_t recipient,
                                                 uint32_t *ret_group);

/* ---- Open and close ---- */

struct spool_options {
    const char *dir;
    const struct spool_io *io; /* NULL: the real disk */
    uint32_t segment_size;     /* bytes, a multiple of 4096; 0: 64 MiB */
    uint64_t disk_limit;       /* bytes of all segments; 0: no limit but the disk */
    uint64_t min_free;         /* bytes left on the disk below which new mail gets FULL */
    uint64_t memory_limit;     /* bytes of bodies that aren't on disk yet; 0: 64 MiB */
    struct log *log;           /* damage, failed writes, disk full; may be NULL */
};

/* The largest body that spool_commit can ever take with these options. A `max-size` above it is a
 * configuration error. */
uint64_t spool_largest_body(const struct spool_options *);

/* A recipient that still waits. Views are good during the call only. */
struct spool_recovered {
    uint64_t message;   /* its number in spool_read, spool_outcome */
    uint32_t recipient; /* counted through all groups */
    uint32_t group;
    uint32_t attempts; /* that are over */
    int64_t due;       /* wall ms; 0: now */
    struct ip source;  /* that the last attempt left from; none: free */
    bool held, let_go; /* as its last outcome says; a try in between ends neither */
    bool damaged;      /* the body can't be read back: end it with an NDR that says so */
    struct str domain; /* of its address; a literal with its brackets */
    struct str last_reply;
    const struct spool_message *envelope;
};

/* Creates or locks the folder, recovers, and calls back in this thread for each recipient that waits, in
 * order of arrival. Damage is logged (segment and offset), counted, and never stops recovery. `recovered`
 * may be NULL. On an error *ret_why (in the arena) says what and where, with the path: BUSY when another
 * process has the folder, DENIED, FULL, IO, INVALID (options). */
[[nodiscard]] int spool_open(const struct spool_options *,
                             void (*recovered)(void *arg, const struct spool_recovered *), void *arg,
                             struct arena *, struct str *ret_why, struct spool **ret);

/* Commits what was handed over, calls its waiters, and closes. No other call may run or follow; open bodies
 * and readers must be gone. NULL is fine; returns NULL. */
struct spool *spool_close(struct spool *);

/* ---- In ---- */

/* A body in the making; belongs to one thread at a time. Up to 256 KiB are gathered in memory, the rest
 * streams to the disk. Never NULL. */
struct spool_body *spool_body_new(struct spool *);
/* Copies. BUSY: nothing was taken, too much is on its way to the disk: call spool_body_wait, then again.
 * FULL: no room (452 4.3.1). IO: the disk failed (451 4.3.0). TOOBIG: over spool_largest_body. After these
 * three the body is only good for spool_body_abort. */
[[nodiscard]] int spool_body_add(struct spool_body *, const void *bytes, size_t len);
/* Calls back once when there is room again or the body failed: at once, or from the committer's thread, and
 * then it must not call the spool. Not after spool_body_abort has returned. */
void spool_body_wait(struct spool_body *, void (*ready)(void *arg), void *arg);
uint64_t spool_body_size(const struct spool_body *);
/* Gives the body up, at any time before spool_commit. NULL is fine; returns NULL. */
struct spool_body *spool_body_abort(struct spool_body *);

/* Hands message and body (which is the spool's from here on, also on an error) to the next commit and returns
 * at once. `done` is called exactly once, on the committer's thread (or in this call when it is refused right
 * away), and must not wait: 0 and the message's number when it is durable; FULL: 452 4.3.1; IO: 451 4.3.0;
 * TOOBIG: the envelope is over a quarter of a segment; INVALID: no group, no recipient, an empty address.
 * After an error nothing of it is delivered, except that a crash right after IO may bring it back (at least
 * once). */
void spool_commit(struct spool *, const struct spool_message *, struct spool_body *,
                  void (*done)(void *arg, int error, uint64_t message), void *arg);

/* ---- What became of a recipient ---- */

enum spool_fate { /* stored: never change a number */
                  SPOOL_DELIVERED = 1,
                  SPOOL_FAILED = 2, /* and its NDR is committed, or none is due */
                  SPOOL_CANCELLED = 3,
                  SPOOL_DEFERRED = 4,
                  SPOOL_HELD = 5,
                  SPOOL_RELEASED = 6,
                  SPOOL_LET_GO = 7, /* RELEASED, whatever its sender may meanwhile: until it is held again */
};

struct spool_outcome {
    enum spool_fate fate;
    int64_t time;      /* wall ms */
    uint32_t attempts; /* DEFERRED: tries that are over */
    int64_t due;       /* DEFERRED, RELEASED, LET_GO: wall ms */
    struct ip source;
    struct str reply; /* at most 1,000 bytes are kept */
};

/* Queues the outcome for commit and returns; outcomes of one message keep their order. `done` (may be NULL)
 * is called as in spool_commit: 0 durable; NOTFOUND: its message had ended already; FULL, IO: not on disk, so
 * a crash would try again. Either way the spool counts it from then on: delivered, failed or cancelled once,
 * a recipient stays so. When its last recipient has ended the message is gone for readers. */
void spool_outcome(struct spool *, uint64_t message, uint32_t recipient, const struct spool_outcome *,
                   void (*done)(void *arg, int error), void *arg);

/* ---- Out ---- */

enum spool_mode {
    SPOOL_WAIT,   /* may wait for the disk: for offload threads and tools */
    SPOOL_NOWAIT, /* BUSY instead of waiting: then offload the same call in SPOOL_WAIT mode */
};

/* The envelope of a live message, in the arena. NOTFOUND: its last recipient has ended. CORRUPT, IO. */
[[nodiscard]] int spool_read(struct spool *, uint64_t message, enum spool_mode, struct arena *,
                             struct spool_message *ret);

/* Reads a body from its start (the header_prefix of the group is not part of it). The message's segments stay
 * while the reader is open. Lives in the heap: close it. */
[[nodiscard]] int spool_reader_open(struct spool *, uint64_t message, enum spool_mode,
                                    struct spool_reader **ret);
/* The next at most `len` bytes; *ret_len 0: the end. BUSY: nothing was read. CORRUPT: a checksum is wrong;
 * what was read since the last 256 KiB boundary is not to be trusted, so the transaction must not be
 * finished. Checked before the end is told. */
[[nodiscard]] int spool_reader_next(struct spool_reader *, enum spool_mode, void *buf, size_t len,
                                    size_t *ret_len);
uint64_t spool_reader_size(const struct spool_reader *);
/* From the start again. */
void spool_reader_rewind(struct spool_reader *);
struct spool_reader *spool_reader_close(struct spool_reader *);

/* ---- Look ---- */

struct spool_stats {
    uint64_t messages, recipients;             /* that live */
    uint64_t segments, spare_segments, bytes;  /* on disk */
    uint64_t commits, syncs, records, written; /* since open; written: bytes */
    uint32_t largest_batch;                    /* records in one commit */
    uint64_t failed_commits;
    uint64_t damages;        /* found by recovery */
    uint64_t index_bytes;    /* memory of the index */
    bool full;               /* new mail gets FULL at the moment */
    int last_error;          /* SLUICE_E...; 0: none since open */
    int64_t last_error_time; /* wall ms */
};
void spool_stats(struct spool *, struct spool_stats *ret);
/* New mail was refused for want of room, and none has come free since: for an early 452 4.3.1 to MAIL. Cheap.
 */
bool spool_full(const struct spool *);

struct spool_damage {
    struct str segment;      /* file name */
    uint64_t offset, length; /* where, and how much could not be read (0: not known) */
    struct str what;
    uint64_t message;    /* 0: not known */
    struct str trace_id; /* empty: not known */
};

struct spool_check_result {
    uint64_t segments, records, messages, waiting_messages, waiting_recipients, damages;
};

/* Reads the whole spool in `dir` without changing a byte and reports every damage in order. 0 also with
 * damages. BUSY: a daemon has it open. NOTFOUND: no spool there. *ret_why as in spool_open.
 * `waiting` (may be NULL) is called for each recipient that waits. */
[[nodiscard]] int spool_check(const char *dir, const struct spool_io *,
                              void (*damage)(void *arg, const struct spool_damage *),
                              void (*waiting)(void *arg, const struct spool_recovered *), void *arg,
                              struct arena *, struct str *ret_why, struct spool_check_result *ret);
