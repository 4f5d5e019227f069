/* arena.h - memory that is freed all at once.
 *
 * One arena per connection, one per transaction: dropping the arena destroys
 * everything in it. An arena belongs to one thread at a time.
 * Running out of memory ends the process (abort after a message): under
 * Linux's overcommit it can't be handled sensibly per allocation, and the spool
 * makes a restart safe.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>

struct arena;

/* A new arena whose first chunk has `first` bytes (0: a default of 4 KiB). Never NULL. */
struct arena *arena_new(size_t first);

/* Frees all. Accepts NULL, returns NULL. */
struct arena *arena_free(struct arena *);

/* Forgets all allocations, but keeps the first chunk for the next user. */
void arena_reset(struct arena *);

/* `size` bytes, zeroed, aligned for any type. Never NULL, also for size 0. */
void *arena_alloc(struct arena *, size_t size);

/* The bytes taken from the system so far. */
size_t arena_size(const struct arena *);

#define arena_new_of(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (count)))

/* malloc, calloc, realloc that never return NULL (the rule above). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *, size_t size);
