/* sender_name.h - names of who is counted and restricted (limit_sender_name), taken apart. Pure.
 *
 *   user@domain                          a user of the tenant that accepts the domain
 *   connector/TENANT/NAME/reverse-path   a sender behind a connector
 *   local/TENANT/reverse-path            a sender at the local socket
 *   TENANT/NAME                          a connector
 */
#pragma once
#include "limits/sender_state.h"

struct sender_name {
    enum sender_kind kind; /* USER or CONNECTOR */
    const struct tenant *tenant;
    struct str connector; /* "TENANT/NAME" as configured; "" none */
    struct str author;    /* address that stands for From; "" for a connector and for <> */
    struct str folded; /* "bounces+7@x.y counts as bounces@x.y (VERP)"; "" : it is written as it is counted */
    struct str whole;  /* as it is counted: lower case for a sender, as configured for a connector */
};

/* False: *ret_why says what is wrong with it (no tenant of ours, no such connector). Everything in the arena,
 * or as old as the policy. */
bool sender_name_read(const struct policy *, struct str name, struct arena *, struct sender_name *ret,
                      struct str *ret_why);
/* In any case, as such names are written; NULL. */
const struct tenant *sender_name_tenant(const struct policy *, struct str name);
