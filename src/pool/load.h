/* load.h - what the files of this room share. Not for other rooms. */
#pragma once
#include "pool/pool.h"

/* Pools while they are read: grows, then is copied into struct pools. */
struct pool_draft {
    struct pool pool;
    const struct config_node *node;  /* where it is declared */
    const struct config_node *where; /* where its addresses stand; NULL: it has none */
    struct config_list addresses;
    bool ehlo_ptr;
    struct str ehlo;
};

struct pool_loading {
    struct arena *arena;
    const struct pool_options *options;
    struct config_errors *errors;
    struct site *sites;
    const struct config_node **site_nodes; /* NULL for the site that nobody declared */
    size_t site_count;
    struct pool_draft *drafts;
    size_t draft_count;
};

/* {class} and {n} replaced; `n` four digits, five past 9999. */
const char *pool_ptr_name(struct arena *, struct str template, struct str code, uint32_t n);

/* The addresses of all drafts, expanded, named and in the hash. */
void pool_expand(struct pool_loading *, struct pools *ret);

/* The hash of addresses: `slots` is a power of two. */
uint32_t pool_ip_slot(const struct pools *, const struct ip *);
