/* attribute.h - step 1: which tenant and connector sent this. Pure.
 *
 * An authenticated user belongs to their tenant. Else the client's certificate
 * decides among the connectors (certificate.h), else the connecting address.
 * Where tenants share a certificate's name, or an address, the domain of the reverse-path
 * decides between them (for a null one, that of From; the first of them when From names none). A connector
 * found by its certificate takes a reverse-path that its tenant doesn't accept only when the certificate's
 * name is in or below an accepted domain, or the client has an address of that connector too. Nobody else may
 * relay: 550 5.7.64.
 */
#pragma once
#include "base/outcome.h"
#include "mail/address.h"
#include "policy/certificate.h"
#include "policy/tenant.h"

struct sender_facts {
    const struct tenant *user_tenant; /* of the login; NULL: not authenticated */
    struct str user;                  /* user@domain */
    struct ip client;                 /* none: came by the local socket, whose users speak for all tenants */
    const struct certificate_facts *certificate; /* NULL: it showed none */
    struct str reverse_path;                     /* wire form; "" for <> */
    const struct address_list *from; /* the From field when it is known (end of data), else NULL */
};

struct attribution {
    const struct tenant *tenant;
    const struct connector *connector; /* NULL: a user */
    struct str user;                   /* "" : a connector */
    struct str certificate;            /* the name that decided; "": no certificate did */
    bool relayed;                      /* the reverse-path is neither null nor in an accepted domain */
};

/* May this client send anything at all, whatever the reverse-path? For an early answer; ip only. */
bool attribute_known_client(const struct policy *, const struct ip *);

/* True: attributed. False: *ret_refusal is the reply to MAIL (550 5.7.64; 550 5.7.1 for a user's reverse-path
 * outside of the accepted domains; static text). With `from` set (call again at the end of data) a user's
 * From is checked as well: 550 5.7.1 (pass NULL when the field is missing: it is added then). */
bool attribute(const struct policy *, const struct sender_facts *, struct attribution *ret,
               struct outcome *ret_refusal);
