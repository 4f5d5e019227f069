#include "spool/simdisk.h"

#include "base/arena.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512 };

struct bytes {
    unsigned char *at;
    uint64_t len, cap;
};

/* A write since the last sync, cut at sector boundaries. */
struct loose_write {
    uint64_t offset;
    uint32_t len;
    unsigned char *bytes;
};

struct node { /* a file, whatever its names are */
    struct bytes now, medium;
    struct loose_write *loose;
    size_t loose_count, loose_cap;
    unsigned users; /* names and open handles */
};

struct name {
    char *path;
    struct node *node;
};

struct names {
    struct name *list;
    size_t count, cap;
};

enum change_kind { CHANGE_MAKE, CHANGE_RENAME, CHANGE_REMOVE };
struct change {
    enum change_kind kind;
    char *path, *to;
    struct node *node;
};

struct handle {
    struct node *node;
    char *locked; /* the path that it locks */
    bool shared, open;
};

struct fault {
    unsigned in;
    int once, always;
};

struct simdisk {
    struct spool_io io;
    pthread_mutex_t lock;
    struct names now, medium;
    struct change *changes; /* of names, not synced */
    size_t change_count, change_cap;
    struct handle *handles;
    size_t handle_count, handle_cap;
    struct node **nodes;
    size_t node_count, node_cap;
    struct fault faults[3];
    uint64_t capacity, chance;
    bool cold;
    void (*hook)(void *arg, struct simdisk *);
    void *hook_arg;
};

#define GROW(list, count, cap)                                                                               \
    do {                                                                                                     \
        if ((count) == (cap)) {                                                                              \
            (cap) = (cap) ? 2 * (cap) : 16;                                                                  \
            (list) = xrealloc((list), (cap) * sizeof *(list));                                               \
        }                                                                                                    \
    } while (0)

static char *copy_text(const char *s) {
    size_t len = strlen(s) + 1;
    return memcpy(xmalloc(len), s, len);
}

static uint64_t draw(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ---- Bytes, nodes, names ---- */

static void put_bytes(struct bytes *b, uint64_t offset, const void *from, size_t len) {
    uint64_t end = offset + len;
    if (end > b->cap) {
        b->cap = end > 2 * b->cap ? end : 2 * b->cap;
        b->at = xrealloc(b->at, b->cap);
    }
    if (offset > b->len)
        memset(b->at + b->len, 0, offset - b->len);
    if (len)
        memcpy(b->at + offset, from, len);
    if (end > b->len)
        b->len = end;
}

static struct bytes copy_bytes(const struct bytes *b) {
    struct bytes copy = {.at = xmalloc(b->len), .len = b->len, .cap = b->len};
    if (b->len)
        memcpy(copy.at, b->at, b->len);
    return copy;
}

static struct node *new_node(struct simdisk *d) {
    GROW(d->nodes, d->node_count, d->node_cap);
    return d->nodes[d->node_count++] = xcalloc(1, sizeof(struct node));
}

static void forget_loose(struct node *n) {
    for (size_t i = 0; i < n->loose_count; i++)
        free(n->loose[i].bytes);
    n->loose_count = 0;
}

static struct name *find_name(const struct names *names, const char *path) {
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i].path, path) == 0)
            return &names->list[i];
    return NULL;
}

static void set_name(struct names *names, const char *path, struct node *node) {
    struct name *n = find_name(names, path);
    if (!n) {
        GROW(names->list, names->count, names->cap);
        n = &names->list[names->count++];
        n->path = copy_text(path);
    }
    n->node = node;
}

static void drop_name(struct names *names, const char *path) {
    struct name *n = find_name(names, path);
    if (!n)
        return;
    free(n->path);
    size_t at = (size_t)(n - names->list);
    names->count--;
    memmove(n, n + 1, (names->count - at) * sizeof *n);
}

static void apply_change(struct names *names, const struct change *c) {
    if (c->kind == CHANGE_MAKE)
        set_name(names, c->path, c->node);
    else if (c->kind == CHANGE_REMOVE)
        drop_name(names, c->path);
    else if (find_name(names, c->path)) {
        struct node *node = find_name(names, c->path)->node;
        drop_name(names, c->path);
        set_name(names, c->to, node);
    }
}

static void change(struct simdisk *d, enum change_kind kind, const char *path, const char *to,
                   struct node *node) {
    GROW(d->changes, d->change_count, d->change_cap);
    struct change *c = &d->changes[d->change_count++];
    *c = (struct change){kind, copy_text(path), to ? copy_text(to) : NULL, node};
    apply_change(&d->now, c);
}

static void forget_changes(struct simdisk *d) {
    for (size_t i = 0; i < d->change_count; i++) {
        free(d->changes[i].path);
        free(d->changes[i].to);
    }
    d->change_count = 0;
}

static void free_names(struct names *names) {
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i].path);
    free(names->list);
}

struct simdisk *simdisk_free(struct simdisk *d) {
    if (!d)
        return NULL;
    for (size_t i = 0; i < d->node_count; i++) {
        forget_loose(d->nodes[i]);
        free(d->nodes[i]->loose);
        free(d->nodes[i]->now.at);
        free(d->nodes[i]->medium.at);
        free(d->nodes[i]);
    }
    for (size_t i = 0; i < d->handle_count; i++)
        free(d->handles[i].locked);
    forget_changes(d);
    free_names(&d->now);
    free_names(&d->medium);
    free(d->nodes);
    free(d->handles);
    free(d->changes);
    pthread_mutex_destroy(&d->lock);
    free(d);
    return NULL;
}

/* ---- Faults ---- */

static int fault(struct simdisk *d, enum simdisk_call call) {
    struct fault *f = &d->faults[call];
    if (f->always)
        return f->always;
    if (f->in && --f->in == 0)
        return f->once;
    return 0;
}

static uint64_t used_bytes(const struct simdisk *d) {
    uint64_t sum = 0;
    for (size_t i = 0; i < d->now.count; i++)
        sum += d->now.list[i].node->now.len;
    return sum;
}

/* ---- The table ---- */

static int sim_make_dir(void *ctx, const char *dir) {
    (void)ctx;
    (void)dir;
    return 0;
}

static int sim_list(void *ctx, const char *dir, void (*entry)(void *arg, const char *name), void *arg) {
    struct simdisk *d = ctx;
    size_t len = strlen(dir), count = 0;
    pthread_mutex_lock(&d->lock);
    char **found = xcalloc(d->now.count + 1, sizeof *found);
    for (size_t i = 0; i < d->now.count; i++) {
        const char *path = d->now.list[i].path;
        if (strncmp(path, dir, len) == 0 && path[len] == '/')
            found[count++] = copy_text(path + len + 1);
    }
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < count; i++) {
        entry(arg, found[i]);
        free(found[i]);
    }
    free(found);
    return 0;
}

static int new_handle(struct simdisk *d, struct handle h) {
    size_t at = 0;
    while (at < d->handle_count && d->handles[at].open)
        at++;
    if (at == d->handle_count) {
        GROW(d->handles, d->handle_count, d->handle_cap);
        d->handle_count++;
    }
    h.open = true;
    d->handles[at] = h;
    return (int)at;
}

static int sim_lock(void *ctx, const char *path, bool shared, int *ret_holder) {
    struct simdisk *d = ctx;
    int result = 0;
    *ret_holder = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->handle_count; i++) {
        const struct handle *h = &d->handles[i];
        if (h->open && h->locked && strcmp(h->locked, path) == 0 && !(shared && h->shared))
            result = -EWOULDBLOCK;
    }
    if (result == 0)
        result = new_handle(d, (struct handle){.locked = copy_text(path), .shared = shared});
    pthread_mutex_unlock(&d->lock);
    return result;
}

static int sim_open(void *ctx, const char *path, enum spool_open how) {
    struct simdisk *d = ctx;
    pthread_mutex_lock(&d->lock);
    struct name *n = find_name(&d->now, path);
    struct node *node = n ? n->node : NULL;
    int result = 0;
    if (how == SPOOL_OPEN_CREATE && n)
        result = -EEXIST;
    else if (how != SPOOL_OPEN_CREATE && !n)
        result = -ENOENT;
    else if (how == SPOOL_OPEN_CREATE)
        change(d, CHANGE_MAKE, path, NULL, node = new_node(d));
    if (result == 0)
        result = new_handle(d, (struct handle){.node = node});
    pthread_mutex_unlock(&d->lock);
    return result;
}

static void sim_close(void *ctx, int handle) {
    struct simdisk *d = ctx;
    pthread_mutex_lock(&d->lock);
    free(d->handles[handle].locked);
    d->handles[handle] = (struct handle){0};
    pthread_mutex_unlock(&d->lock);
}

static int sim_size(void *ctx, int handle, uint64_t *ret_size) {
    struct simdisk *d = ctx;
    pthread_mutex_lock(&d->lock);
    *ret_size = d->handles[handle].node->now.len;
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static void write_sectors(struct node *n, const unsigned char *from, size_t len, uint64_t offset) {
    put_bytes(&n->now, offset, from, len);
    while (len) {
        size_t take = SECTOR - offset % SECTOR;
        if (take > len)
            take = len;
        GROW(n->loose, n->loose_count, n->loose_cap);
        n->loose[n->loose_count++] =
            (struct loose_write){offset, (uint32_t)take, memcpy(xmalloc(take), from, take)};
        from += take;
        offset += take;
        len -= take;
    }
}

static int sim_write(void *ctx, int handle, struct iovec *vectors, size_t count, uint64_t offset) {
    struct simdisk *d = ctx;
    pthread_mutex_lock(&d->lock);
    struct node *n = d->handles[handle].node;
    struct bytes all = {0};
    for (size_t i = 0; i < count; i++)
        if (vectors[i].iov_len)
            put_bytes(&all, all.len, vectors[i].iov_base, vectors[i].iov_len);
    int error = fault(d, SIMDISK_WRITE);
    uint64_t more = offset + all.len > n->now.len ? offset + all.len - n->now.len : 0;
    if (!error && d->capacity && used_bytes(d) + more > d->capacity)
        error = ENOSPC;
    uint64_t len = error ? all.len * (draw(&d->chance) % 4) / 4 : all.len;
    if (error && more)
        len = 0;
    write_sectors(n, all.at, len, offset);
    free(all.at);
    pthread_mutex_unlock(&d->lock);
    return -error;
}

static ssize_t sim_read(void *ctx, int handle, void *buf, size_t len, uint64_t offset, bool nowait) {
    struct simdisk *d = ctx;
    pthread_mutex_lock(&d->lock);
    const struct bytes *b = &d->handles[handle].node->now;
    int error = nowait && d->cold ? EAGAIN : fault(d, SIMDISK_READ);
    uint64_t left = offset < b->len ? b->len - offset : 0;
    if (len > left)
        len = left;
    if (!error && len)
        memcpy(buf, b->at + offset, len);
    pthread_mutex_unlock(&d->lock);
    return error ? -error : (ssize_t)len;
}

static void reach_medium(struct node *n, const struct loose_write *w) {
    put_bytes(&n->medium, w->offset, w->bytes, w->len);
}

static int sim_sync(void *ctx, int handle) {
    struct simdisk *d = ctx;
    pthread_mutex_lock(&d->lock);
    struct node *n = d->handles[handle].node;
    int error = fault(d, SIMDISK_SYNC);
    if (d->hook)
        d->hook(d->hook_arg, d);
    for (size_t i = 0; i < n->loose_count; i++)
        if (!error || draw(&d->chance) & 1)
            reach_medium(n, &n->loose[i]);
    forget_loose(n);
    pthread_mutex_unlock(&d->lock);
    return -error;
}

static int sim_sync_dir(void *ctx, const char *dir) {
    struct simdisk *d = ctx;
    (void)dir;
    pthread_mutex_lock(&d->lock);
    int error = fault(d, SIMDISK_SYNC);
    if (d->hook)
        d->hook(d->hook_arg, d);
    if (!error) {
        for (size_t i = 0; i < d->change_count; i++)
            apply_change(&d->medium, &d->changes[i]);
        forget_changes(d);
    }
    pthread_mutex_unlock(&d->lock);
    return -error;
}

static int sim_rename(void *ctx, const char *from, const char *to) {
    struct simdisk *d = ctx;
    pthread_mutex_lock(&d->lock);
    int result = find_name(&d->now, from) ? 0 : -ENOENT;
    if (result == 0)
        change(d, CHANGE_RENAME, from, to, NULL);
    pthread_mutex_unlock(&d->lock);
    return result;
}

static int sim_remove(void *ctx, const char *path) {
    struct simdisk *d = ctx;
    pthread_mutex_lock(&d->lock);
    int result = find_name(&d->now, path) ? 0 : -ENOENT;
    if (result == 0)
        change(d, CHANGE_REMOVE, path, NULL, NULL);
    pthread_mutex_unlock(&d->lock);
    return result;
}

static int sim_free_bytes(void *ctx, const char *dir, uint64_t *ret_bytes) {
    struct simdisk *d = ctx;
    (void)dir;
    pthread_mutex_lock(&d->lock);
    uint64_t used = used_bytes(d);
    *ret_bytes = d->capacity == 0 ? UINT64_MAX / 2 : d->capacity > used ? d->capacity - used : 0;
    pthread_mutex_unlock(&d->lock);
    return 0;
}

struct simdisk *simdisk_new(void) {
    struct simdisk *d = xcalloc(1, sizeof *d);
    pthread_mutexattr_t recursive; /* a hook calls back */
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&d->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    d->io = (struct spool_io){
        .ctx = d,
        .make_dir = sim_make_dir,
        .list = sim_list,
        .lock = sim_lock,
        .open = sim_open,
        .close = sim_close,
        .size = sim_size,
        .write = sim_write,
        .read = sim_read,
        .sync = sim_sync,
        .sync_dir = sim_sync_dir,
        .rename = sim_rename,
        .remove = sim_remove,
        .free_bytes = sim_free_bytes,
    };
    return d;
}

const struct spool_io *simdisk_io(struct simdisk *d) { return &d->io; }

/* ---- Crashes ---- */

size_t simdisk_loose(struct simdisk *d) {
    pthread_mutex_lock(&d->lock);
    size_t count = d->change_count;
    for (size_t i = 0; i < d->node_count; i++)
        count += d->nodes[i]->loose_count;
    pthread_mutex_unlock(&d->lock);
    return count;
}

struct choice {
    const uint8_t *kept;
    uint64_t chance;
    unsigned odds; /* of 16 */
    size_t at;
};

static bool keeps(struct choice *c) {
    size_t at = c->at++;
    if (c->kept)
        return c->kept[at / 8] >> at % 8 & 1;
    return draw(&c->chance) % 16 < c->odds;
}

/* Writes to one sector may reach the medium in any order: with chance, a later one first. */
static struct node *crash_node(struct simdisk *to, const struct node *n, struct choice *c) {
    struct node *copy = new_node(to);
    copy->medium = copy_bytes(&n->medium);
    bool backwards = !c->kept && draw(&c->chance) % 4 == 0;
    for (size_t i = 0; i < n->loose_count; i++)
        if (keeps(c))
            reach_medium(copy, &n->loose[backwards ? n->loose_count - 1 - i : i]);
    copy->now = copy_bytes(&copy->medium);
    return copy;
}

struct simdisk *simdisk_crash(struct simdisk *d, const uint8_t *kept, uint64_t seed) {
    static const unsigned odds[] = {0, 1, 4, 8, 12, 15, 16, 8};
    struct simdisk *to = simdisk_new();
    struct choice c = {.kept = kept, .chance = seed, .odds = odds[seed % 8]};
    size_t before = to->node_count;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->node_count; i++)
        crash_node(to, d->nodes[i], &c);
    struct names names = {0};
    for (size_t i = 0; i < d->medium.count; i++)
        set_name(&names, d->medium.list[i].path, d->medium.list[i].node);
    bool in_order = true;
    for (size_t i = 0; i < d->change_count; i++) {
        in_order = keeps(&c) && in_order;
        if (in_order)
            apply_change(&names, &d->changes[i]);
    }
    for (size_t i = 0; i < names.count; i++) {
        size_t at = 0;
        while (d->nodes[at] != names.list[i].node)
            at++;
        set_name(&to->now, names.list[i].path, to->nodes[before + at]);
        set_name(&to->medium, names.list[i].path, to->nodes[before + at]);
    }
    pthread_mutex_unlock(&d->lock);
    free_names(&names);
    return to;
}

struct simdisk *simdisk_clone(struct simdisk *d) {
    struct simdisk *to = simdisk_new();
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->now.count; i++)
        simdisk_put(to, d->now.list[i].path, d->now.list[i].node->now.at, d->now.list[i].node->now.len);
    pthread_mutex_unlock(&d->lock);
    return to;
}

/* ---- For tests ---- */

void simdisk_on_sync(struct simdisk *d, void (*hook)(void *arg, struct simdisk *), void *arg) {
    pthread_mutex_lock(&d->lock);
    d->hook = hook;
    d->hook_arg = arg;
    pthread_mutex_unlock(&d->lock);
}

void simdisk_fail(struct simdisk *d, enum simdisk_call call, unsigned nth, int errno_value) {
    pthread_mutex_lock(&d->lock);
    d->faults[call].in = nth;
    d->faults[call].once = errno_value;
    pthread_mutex_unlock(&d->lock);
}

void simdisk_fail_all(struct simdisk *d, enum simdisk_call call, int errno_value) {
    pthread_mutex_lock(&d->lock);
    d->faults[call].always = errno_value;
    pthread_mutex_unlock(&d->lock);
}

void simdisk_capacity(struct simdisk *d, uint64_t bytes) {
    pthread_mutex_lock(&d->lock);
    d->capacity = bytes;
    pthread_mutex_unlock(&d->lock);
}

void simdisk_cold(struct simdisk *d, bool cold) {
    pthread_mutex_lock(&d->lock);
    d->cold = cold;
    pthread_mutex_unlock(&d->lock);
}

unsigned char *simdisk_bytes(struct simdisk *d, const char *path, uint64_t *ret_size) {
    struct name *n = find_name(&d->now, path);
    if (!n)
        return NULL;
    *ret_size = n->node->now.len;
    return n->node->now.at;
}

const char *simdisk_name(struct simdisk *d, size_t n) {
    return n < d->now.count ? d->now.list[n].path : NULL;
}

void simdisk_remove(struct simdisk *d, const char *path) {
    drop_name(&d->now, path);
    drop_name(&d->medium, path);
}

void simdisk_put(struct simdisk *d, const char *path, const void *bytes, size_t len) {
    struct node *n = new_node(d);
    put_bytes(&n->now, 0, bytes, len);
    put_bytes(&n->medium, 0, bytes, len);
    set_name(&d->now, path, n);
    set_name(&d->medium, path, n);
}
