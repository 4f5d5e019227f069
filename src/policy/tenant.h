/* tenant.h - tenants and their connectors, as configured.
 *
 * One `struct policy` per configuration, immutable once built and shared by all
 * threads; a reload makes another. Strings live in the configuration's arena.
 */
#pragma once
#include "base/ip_range.h"
#include "base/mail_class.h"
#include "base/str.h"
#include "config/config.h"
#include "detection/pattern_rules.h"

struct pools;        /* pool/pool.h */
struct srs_settings; /* auth/srs.h */
struct tenant;
struct passwd;
struct signing_domain; /* policy/signing.h */
struct tls_trust;      /* rt/tls_peer.h */

struct connector {
    struct str name;
    const struct tenant *tenant;
    struct ip_range *addresses; /* none only with a certificate */
    size_t address_count;
    struct str certificate;        /* normalised name, or "*." and one (policy/certificate.h); "" none */
    const struct tls_trust *trust; /* who vouches for it; NULL without a certificate */
    struct ip_range *skip;         /* hops of Received that are passed over: policy/original_client.h */
    size_t skip_count;
    bool skip_last; /* `skip = {"last"}`: exactly one hop; `skip` is then empty */
    bool srs;       /* rewrite the reverse-path of mail to `deliver` too */
    bool trust_verdict;
    bool limits;             /* its senders are counted */
    struct str deliver_host; /* where mail for the tenant's own domains goes: host name or literal; "" none */
    uint16_t deliver_port;
};

struct forward {
    struct str address; /* normalised wire form */
    struct str *to;     /* likewise; at least one */
    size_t to_count;
    bool keep; /* the address itself gets the mail too */
    const struct tenant *tenant;
};

enum limit_action { LIMIT_ALERT, LIMIT_RESTRICT_TODAY, LIMIT_RESTRICT };
enum forwarding { FORWARDING_AUTOMATIC, FORWARDING_OFF, FORWARDING_ON };

/* Which policy applies to whom: limit_policy.h. */
struct sending_policy {
    struct str name;
    uint32_t priority;
    struct str *senders, *domains,
        *groups; /* conditions: addresses (in order, load.h), normalised domains, names of groups */
    size_t sender_count, domain_count, group_count;
    uint32_t external_per_hour, internal_per_hour, per_day, per_minute; /* 0: the service's default */
    uint32_t per_message;
    enum limit_action action;
    enum forwarding forwarding;
    struct str bcc_suspicious; /* gets a copy of suspicious mail; "" nobody */
    struct str *notify;        /* addresses that hear of it when a sender is restricted */
    size_t notify_count;
    struct pattern_actions suspicion; /* what happens to a sender with a suspicious pattern */
};

struct sender_group {
    struct str name;
    struct str *members; /* addresses, in order */
    size_t member_count;
};

/* When no scanner gives an answer. */
enum verdict_failure { VERDICT_DEFER, VERDICT_REGULAR, VERDICT_HIGH_RISK };

struct tenant {
    struct str name;
    struct str *domains; /* normalised; the first is the default domain; at least one */
    size_t domain_count;
    struct passwd *users; /* NULL: nobody logs in */
    struct connector *connectors;
    size_t connector_count;
    struct str pools[MAIL_CLASS_COUNT]; /* a pool's name per class; "" by weight among all */
    struct signing_domain *signing;     /* the `dkim` sections, in written order */
    size_t signing_count;
    struct map *signing_by_domain; /* normalised domain -> struct signing_domain */
    struct forward *forwards;
    size_t forward_count;
    struct sending_policy *policies;
    size_t policy_count;
    struct sender_group *groups;
    size_t group_count;
    uint32_t licences;               /* 0: its recipients aren't limited */
    int64_t since;                   /* wall ms; 0: long ago */
    enum verdict_failure on_failure; /* its own, or the root's */
    const struct srs_settings *srs;  /* its own, or the root's with the domain filled in; NULL: none */
};

struct policy {
    struct tenant *tenants;
    size_t tenant_count;
    struct policy_trust {
        const char *path; /* NULL: the system's */
        struct tls_trust *trust;
    } * trusts; /* of the connectors, each once */
    size_t trust_count;
    struct map *by_domain;  /* normalised accepted domain -> struct tenant */
    struct map *by_forward; /* address of a forward in any case -> struct forward */
    struct map *by_srs;     /* domain of rewritten addresses -> who writes them (policy/load.h) */
    /* verdict { } */
    struct verdict_header {
        struct str name, value; /* "" when not set */
    } spam_header, malware_header;
    enum verdict_failure on_failure;
    /* classify { } */
    bool aaaa;
    /* limits { } */
    struct {
        bool apply;
        uint32_t senders; /* how many can be counted */
    } limits;
    struct pattern_rules detection; /* detection { } */
    /* relay { }: which checks save mail of a foreign sender from the relay pool */
    bool relay_dkim, relay_spf;
};

/* The tenant in whose accepted domains `domain` is (any spelling), or NULL. Subdomains count only when
 * listed. */
const struct tenant *policy_tenant_of_domain(const struct policy *, struct str domain);
const struct tenant *policy_tenant(const struct policy *, struct str name);
bool tenant_accepts(const struct policy *, const struct tenant *, struct str domain);
/* The connector through which mail for that accepted domain is delivered (`deliver`), or NULL. */
const struct connector *policy_deliver_of_domain(const struct policy *, struct str domain);
/* May this address of the tenant's (wire form) forward to addresses outside of its domains? By the policy
 * that applies to it (limit_policy.h); `automatic` is off, as at Microsoft 365; without a policy it may. */
bool tenant_may_forward_outside(const struct tenant *, struct str address);
bool connector_has_ip(const struct connector *, const struct ip *);

/* The tables of `tenant "name" { }`, `limits { }`, `verdict { }`, `classify { }`, `relay { }` and `srs { }`.
 */
extern const struct config_option tenant_options[];
extern const struct config_option limits_options[];
extern const struct config_option relay_options[];
extern const struct config_option srs_options[];
extern const struct config_option verdict_options[];
extern const struct config_option classify_options[];

struct policy_checks {
    const char *state;         /* absolute folder in which relative file names start */
    const struct pools *pools; /* the pools that `pools { }` may name; NULL: not checked */
};

/* Reads tenants, verdict, classify, relay and srs from the configuration's root, the user files, the DKIM
 * keys and what is on record of their rotation. Problems go to `errors`; the result then lacks what was
 * wrong. Lives in the arena but for what policy_close gives back. Never NULL. */
struct policy *policy_load(struct arena *, const struct config_node *root, const struct policy_checks *,
                           struct config_errors *);
/* Gives back the maps, the user files and the keys, before the arena goes. NULL is fine. */
void policy_close(struct policy *);
