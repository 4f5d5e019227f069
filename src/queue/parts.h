/* parts.h - what the files of the queue share. Nobody else includes it.
 *
 * A struct queue_worker is touched by its own worker only, in two roles: as
 * home of messages (home.c) and as owner of receivers (lane.c). Deliveries pass
 * between workers by mailbox; whoever holds one may write it, within the fields
 * that delivery.h gives to that stage.
 */
#pragma once
#include "base/map.h"
#include "queue/queue.h"
#include "queue/retry.h"
#include "rt/fiber.h"
#include <pthread.h>

/* ---- names.c: short byte strings numbered once for all workers; never forgotten ---- */

enum { NAMES_CHUNK = 1024, NAMES_CHUNKS = 256 };
struct names {
    pthread_mutex_t lock;
    struct map *numbers;
    struct arena *arena;
    struct str *_Atomic chunks[NAMES_CHUNKS];
    uint32_t count;
    uint32_t limit;
};
void names_init(struct names *, uint32_t limit);
void names_free(struct names *);
/* From 1 on; 0: full. */
uint32_t names_put(struct names *, struct str);
struct str names_at(const struct names *, uint32_t number);

/* ---- store.c: the deliveries of a home, and which belong to a message ---- */

enum { STORE_CHUNK = 1024 };
struct store {
    struct delivery **chunks;
    uint32_t chunk_count, used; /* places handed out once */
    uint32_t free;              /* place + 1 of the first free one, linked by `next` */
    uint32_t count;
    uint32_t newest; /* place + 1 of the one added last: mostly of the same message as the next */
    uint32_t *table; /* place + 1 of a message's first delivery; open addressing */
    uint32_t table_cap, messages;
};
void store_free(struct store *);
/* A zeroed delivery at the end of its message's. */
struct delivery *store_add(struct store *, uint64_t message);
void store_remove(struct store *, struct delivery *);
struct delivery *store_first(const struct store *, uint64_t message);
struct delivery *store_next(const struct store *, const struct delivery *);
/* The one at this place, NULL: free. `place` < store->used. */
struct delivery *store_at(const struct store *, uint32_t place);

/* Flags in delivery.next, which only its home reads and writes. */
#define NEXT_PINNED (UINT32_C(1) << 31) /* an operator's question to the owner is under way */
#define NEXT_BACK (UINT32_C(1) << 30)   /* came home while pinned */
#define NEXT_FORCED (UINT32_C(1) << 29) /* an operator wants it tried now: reopens the lane */
#define NEXT_PLACE (NEXT_FORCED - 1)

/* ---- shared ---- */

struct shared_settings {
    _Atomic unsigned references;
    struct arena *arena;
    const struct queue_settings *settings;
};
void shared_settings_unref(struct shared_settings *);

/* A kept outcome; its texts are in `memory`. */
struct reason {
    struct outcome outcome;
    char *memory;
};
void reason_set(struct reason *, const struct outcome *);
void reason_free(struct reason *);

struct delivery_list {
    struct delivery *first, *last;
};
void list_add(struct delivery_list *, struct delivery *);
struct delivery *list_pop(struct delivery_list *);

/* How a delivery comes home (delivery.how). */
enum { COME_FINISHED, COME_DEFERRED, COME_RETURNED, COME_HELD };

struct queue_domain {
    struct queue_worker *home;
    struct str key, name, via; /* key: name, or name and via */
    size_t count;              /* deliveries */
    struct route *route;       /* NULL: unknown */
    int64_t route_until;       /* monotonic ms */
    struct delivery_list asking;
    bool busy; /* its route is being found, or it stands in the line for that */
    bool flushing, idle;
    struct queue_domain *next_in_line, *next_flushing, *next_idle;
    struct reason last;
};

struct queue_worker {
    struct queue *queue;
    struct worker *worker;
    unsigned index;
    struct shared_settings *shared;
    uint64_t random;

    /* home */
    struct store store;
    struct heap due;
    size_t held;
    struct worker_timer *timer;
    int64_t timer_at; /* wall ms; 0: none */
    struct map *domains;
    struct queue_domain *flushing;               /* have deliveries in `asking` that can go on */
    struct queue_domain *idle;                   /* without deliveries */
    struct queue_domain *line_first, *line_last; /* domains that wait for a routing fiber */
    unsigned routing;                            /* fibers */
    struct delivery_list telling;                /* expired (no route) and unroutable ones, for flow */
    unsigned tellers;                            /* fibers */
    struct retry_schedule *schedules;            /* by pool number; expire_ms 0: not looked up yet */
    uint32_t schedule_count;

    /* owner */
    struct map *lanes;
    unsigned turn; /* of the workers, for new sessions */
    bool blocked;  /* a session could not be started: no fiber */
    unsigned ticks;
};

struct queue {
    struct rt *rt;
    struct log *log;
    struct queue_calls calls;
    struct queue_worker *workers;
    unsigned count;
    struct names pools, sources;
    _Atomic bool draining;
    _Atomic unsigned sessions;
    pthread_mutex_t all_lock; /* guards `all`: for queue_free only */
    struct queue_session *all;
};

int64_t queue_now(struct queue *);
/* The part of the calling thread's worker; NULL on others. */
struct queue_worker *queue_self(struct queue *);
struct queue_worker *queue_home(struct queue *, uint64_t message);
uint64_t queue_random(struct queue_worker *);
static inline const struct queue_settings *settings_of(const struct queue_worker *w) {
    return w->shared->settings;
}
const struct retry_schedule *schedule_of_pool(struct queue_worker *, uint16_t pool);

/* ---- home.c ---- */

void home_put(struct queue_worker *, uint64_t message, const struct delivery_init *, const uint16_t *pools,
              size_t count);
/* A delivery has come home: apply `how`, then wait, go on or end. */
void home_arrive(void *delivery);
/* From any thread: by mailbox, or at once when it is the own worker. */
void home_send(struct delivery *);

void home_run_due(struct queue_worker *);
/* Puts one that is at home where it belongs: held, waiting, or on its way. */
void home_place(struct queue_worker *, struct delivery *, int64_t due);
/* Takes one that is at home out of heap or line; false: it is away. */
bool home_take(struct queue_worker *, struct delivery *);
void home_forget(struct queue_worker *, struct delivery *);
void home_hold(struct queue_worker *, struct delivery *);
/* One that came home applies how it ended. False: it is over, and forgotten. */
bool home_settle(struct queue_worker *, struct delivery *);
void home_forget_routes(struct queue_worker *);
void home_tick(struct queue_worker *);
/* Any thread that holds one of its deliveries: remembers why they did not get on. */
void home_note(struct queue_domain *, const struct outcome *);
void home_free(struct queue_worker *);

/* ---- ask.c: routes, and what flow is told ---- */

void ask_route(struct queue_worker *, struct queue_domain *);
void ask_next(struct queue_worker *);
void tell(struct queue_worker *, struct delivery *, const struct route *why);
void tell_next(struct queue_worker *);
/* The domain knows its route now: all that asked go on. */
void home_routed(struct queue_worker *, struct queue_domain *);
