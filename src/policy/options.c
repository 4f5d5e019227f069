#include "policy/load.h"
#include "policy/tenant.h"

static const char *const failure_words[] = {"defer", "regular", "high-risk", NULL};
static const char *const too_large_words[] = {"regular", "high-risk", "refuse", NULL};

static const struct config_option connector_options[] = {
    {.name = "addresses",
     .kind = CONFIG_LIST,
     .min = 1,
     .preset_doc = "none: then it needs a certificate",
     .doc = "Addresses, ranges (`a-b`) and networks (CIDR) from which this server connects."},
    {.name = "certificate",
     .kind = CONFIG_STRING,
     .preset_doc = "none",
     .doc = "Name in its TLS client certificate: a host name, or `*.` and a domain for every name directly "
            "below "
            "it. A certificate that `ca` vouches for goes before all addresses."},
    {.name = "ca",
     .kind = CONFIG_STRING,
     .preset_doc = "the system's",
     .doc = "PEM file of the authorities that may vouch for `certificate`."},
    {.name = "skip",
     .kind = CONFIG_LIST,
     .doc =
         "Addresses, ranges and networks of servers that are passed over when Received is walked outwards "
         "for the client that SPF is checked for. Or `last`: one hop. Private ones are passed over always."},
    {.name = "srs",
     .kind = CONFIG_BOOL,
     .preset = "false",
     .doc = "Rewrite the reverse-path of forwarded mail (`srs`) on its way to `deliver` too."},
    {.name = "limits",
     .kind = CONFIG_BOOL,
     .preset_doc = "on when the tenant has a `policy`",
     .doc =
         "Do the limits of a sender apply to mail from this server, each reverse-path for itself? Without, "
         "only the tenant's `licences` do."},
    {.name = "trust-verdict",
     .kind = CONFIG_BOOL,
     .preset = "false",
     .doc = "Believe the spam header (`verdict`, `header`) of mail from this server."},
    {.name = "deliver",
     .kind = CONFIG_STRING,
     .preset_doc = "by MX",
     .doc = "`host:port` that takes the mail for the tenant's own domains."},
    {.kind = CONFIG_END},
};

static const struct config_option tenant_pool_options[] = {
    {.name = "normal", .kind = CONFIG_STRING, .doc = "Pool for class normal."},
    {.name = "high-risk", .kind = CONFIG_STRING, .doc = "Pool for class high-risk."},
    {.name = "relay", .kind = CONFIG_STRING, .doc = "Pool for class relay."},
    {.name = "high-risk-relay", .kind = CONFIG_STRING, .doc = "Pool for class high-risk-relay."},
    {.kind = CONFIG_END},
};

static const struct config_option dkim_options[] = {
    {.name = "selector",
     .kind = CONFIG_STRING,
     .required = true,
     .doc = "Selector of the key: its record stands at `SELECTOR._domainkey.DOMAIN`."},
    {.name = "key",
     .kind = CONFIG_STRING,
     .required = true,
     .doc = "File of the private key (PEM; RSA of 1024 to 4096 bits, or Ed25519), readable by its owner "
            "only."},
    {.name = "ed25519-selector",
     .kind = CONFIG_STRING,
     .preset_doc = "none",
     .doc = "Selector of a second key: mail is signed with both."},
    {.name = "ed25519-key",
     .kind = CONFIG_STRING,
     .preset_doc = "none",
     .doc =
         "File of the second key, Ed25519; not every receiver knows this algorithm, so `key` is RSA then."},
    {.name = "subdomains", .kind = CONFIG_BOOL, .preset = "false", .doc = "Sign for subdomains as well."},
    {.name = "rotation",
     .kind = CONFIG_DURATION,
     .preset = "96h",
     .min = 3600000,
     .max = 365LL * 86400000,
     .doc =
         "`sluice dkim rotate`: how long the next key's record stands in DNS before it signs, and how long "
         "the old one stays afterwards."},
    {.kind = CONFIG_END},
};

static const struct config_option forward_options[] = {
    {.name = "to",
     .kind = CONFIG_LIST,
     .min = 1,
     .required = true,
     .doc = "Addresses that get the mail instead."},
    {.name = "keep",
     .kind = CONFIG_BOOL,
     .preset = "false",
     .doc = "The address itself gets the mail as well."},
    {.kind = CONFIG_END},
};

const struct config_option tenant_options[] = {
    {.name = "domains",
     .kind = CONFIG_LIST,
     .min = 1,
     .required = true,
     .doc = "Accepted domains, subdomains each by themselves; the first is the default domain."},
    {.name = "administrators",
     .kind = CONFIG_LIST,
     .preset_doc = "nobody",
     .doc = "Addresses that hear of alerts about this tenant (`alerts`)."},
    {.name = "users",
     .kind = CONFIG_STRING,
     .preset_doc = "nobody logs in",
     .doc = "Dovecot passwd-file of those who may log in: `user:{SCHEME}hash`."},
    {.name = "connector",
     .kind = CONFIG_TITLED,
     .options = connector_options,
     .title_doc = "connector name",
     .doc = "A server of the tenant that may send without logging in."},
    {.name = "pools",
     .kind = CONFIG_SECTION,
     .options = tenant_pool_options,
     .doc = "Pools of the tenant's own, by class; a class not named here goes to the pools that carry it, by "
            "weight."},
    {.name = "dkim",
     .kind = CONFIG_TITLED,
     .options = dkim_options,
     .title_doc = "domain",
     .doc = "Keys that sign mail of a domain, one of the tenant's or below one. Mail from other domains is "
            "signed for the default domain."},
    {.name = "forward",
     .kind = CONFIG_TITLED,
     .options = forward_options,
     .title_doc = "address",
     .doc = "An address whose mail is forwarded."},
    {.name = "srs",
     .kind = CONFIG_SECTION,
     .options = srs_options,
     .doc = "How the reverse-path of verified mail is rewritten that this tenant forwards; instead of the "
            "root's `srs`."},
    {.name = "licences",
     .kind = CONFIG_INTEGER,
     .preset = "0",
     .max = 100000000,
     .doc =
         "Licences of the tenant: it may have 500 x licences^0.7 + 9500 external recipients in 24 hours, of "
         "that 10 % in its first 30 days and 25 % in the next 30; 0 is no limit."},
    {.name = "since",
     .kind = CONFIG_STRING,
     .preset_doc = "long ago",
     .doc = "The tenant's first day, like `2026-10-01` (UTC)."},
    {.name = "on-failure",
     .kind = CONFIG_ENUM,
     .words = failure_words,
     .preset_doc = "as `verdict` says",
     .doc = "When no scanner answers for a message of this tenant."},
    {.name = "group",
     .kind = CONFIG_TITLED,
     .options = group_options,
     .title_doc = "group name",
     .doc = "Senders that policies name together."},
    {.name = "policy",
     .kind = CONFIG_TITLED,
     .options = sending_options,
     .title_doc = "policy name",
     .doc = "Limits for the tenant's senders, and whether they may forward."},
    {.kind = CONFIG_END},
};

const struct config_option verdict_options[] = {
    {.name = "header",
     .kind = CONFIG_STRING,
     .preset_doc = "none",
     .doc = "Header that marks spam, `Name: value`, believed from connectors with `trust-verdict`."},
    {.name = "malware-header",
     .kind = CONFIG_STRING,
     .preset_doc = "none",
     .doc = "Header that marks malware, `Name: value`, believed likewise: such mail is refused."},
    {.name = "rspamd",
     .kind = CONFIG_STRING,
     .preset_doc = "none",
     .doc = "Rspamd's worker, `http://127.0.0.1:11333`. Several scanners, and others: `scanner`."},
    {.name = "timeout",
     .kind = CONFIG_DURATION,
     .preset = "20s",
     .min = 100,
     .max = 5 * 60 * 1000,
     .doc = "How long the scanners may take for a message, all of them together."},
    {.name = "on-failure",
     .kind = CONFIG_ENUM,
     .preset = "defer",
     .words = failure_words,
     .doc = "When no scanner answers: `defer` the mail (451 4.7.1), or take it as `regular` or `high-risk`."},
    {.name = "too-large",
     .kind = CONFIG_ENUM,
     .preset = "high-risk",
     .words = too_large_words,
     .doc = "Mail that is longer than `max-size` of every scanner, which whoever has something to hide can "
            "make it: take it as `regular` or `high-risk`, or `refuse` it (552 5.3.4)."},
    {.name = "spam-actions",
     .kind = CONFIG_LIST,
     .preset_doc = "add header, rewrite subject, soft reject, reject, quarantine, discard, spam",
     .doc = "What a scanner says that means spam: Rspamd's actions; spamd says `spam` or `ham`."},
    {.name = "malware-symbols",
     .kind = CONFIG_LIST,
     .preset_doc = "*_VIRUS, CLAMAV",
     .doc = "Symbols that mean malware, whatever their score; `*` stands for anything."},
    {.name = "refuse",
     .kind = CONFIG_LIST,
     .preset_doc = "none: spam leaves from the high-risk pool, malware never",
     .doc = "What a scanner says that refuses the message: 550 5.7.1, with `soft reject` and `greylist` 451 "
            "4.7.1."},
    {.name = "apply-headers",
     .kind = CONFIG_BOOL,
     .preset = "off",
     .doc =
         "Take out and add the header fields that Rspamd says (`milter` of its answer: its module "
         "milter_headers). Off: what leaves goes to others, who need not know what a scanner thinks of it."},
    {.name = "rewrite-subject",
     .kind = CONFIG_BOOL,
     .preset = "off",
     .doc = "Give the message the subject of Rspamd's action `rewrite subject`."},
    {.kind = CONFIG_END},
};

const struct config_option classify_options[] = {
    {.name = "aaaa",
     .kind = CONFIG_BOOL,
     .preset = "true",
     .doc = "Does an AAAA record save a sender's domain, that has no A and no MX, from `no-sender-dns`?"},
    {.kind = CONFIG_END},
};

const struct config_option relay_options[] = {
    {.name = "dkim",
     .kind = CONFIG_BOOL,
     .preset = "true",
     .doc = "Does a DKIM signature that is aligned with the reverse-path's domain and passes on arrival keep "
            "mail of a foreign sender out of the relay pool?"},
    {.name = "spf",
     .kind = CONFIG_BOOL,
     .preset = "true",
     .doc =
         "Does SPF (MAIL FROM) that passes on arrival keep mail of a foreign sender out of the relay pool?"},
    {.kind = CONFIG_END},
};
