/* forecast.h - what a receiver will compute for a message that is about to leave: SPF, DKIM, DMARC.
 *
 * For `explain`, and for the warning before mail is sent that will not be believed. From a fiber: it asks the
 * DNS, many questions side by side, and ends by the deadline; what is not known then is temperror.
 */
#pragma once
#include "auth/arrival.h"
#include "auth/dmarc.h"

struct forecast_query {
    struct ip source;        /* that it leaves from; none: SPF says none */
    struct str ehlo;         /* the name that we give there */
    struct str reverse_path; /* wire form, as it leaves; "" null: SPF falls to the EHLO name */
    struct str from_domain;  /* of the header's From; "" when it has none */
    /* What came in, or NULL. Signatures that passed keep passing: we change nothing that they sign. */
    const struct arrival_result *arrival;
    const struct dkim_signer *signers; /* ours */
    size_t signer_count;
    int64_t now;      /* wall clock, ms */
    int64_t deadline; /* monotonic ms */
};

struct forecast_signature {
    struct str domain, selector;
    bool ours;
    /* Ours: pass when the live record has our key; permerror: no record, another key, revoked; temperror: the
     * DNS did not answer. Others: as on arrival. */
    enum dkim_result result;
    bool aligned; /* its domain aligns with the From's */
    /* Passes, but need not be believed: a key in test mode (t=y), or a body that is signed in part (l=). Does
     * not count for DMARC here. */
    bool weak;
    struct str
        why; /* one line; "" when it passes and is not weak: "no record at s1._domainkey.contoso.test" */
};

/* What is the same for each address: signatures and the DMARC record. */
struct forecast_identity {
    struct dmarc_discovery dmarc;
    struct forecast_signature *signatures; /* ours first, then in the order of the header */
    size_t count;
};

struct forecast {
    struct spf_check spf;
    struct str spf_domain; /* that SPF was computed for; "" when there is none */
    bool spf_aligned;      /* that domain aligns with the From's, whatever SPF says of it */
    struct forecast_signature *signatures;
    size_t count;
    enum dmarc_result dmarc;
    enum dmarc_policy policy; /* that the From's domain asks for when DMARC fails */
    struct str dmarc_why;     /* one line of printable ASCII */
    /* One sentence for the operator, printable ASCII: SPF will not pass, DMARC will not pass, or a signature
     * of ours does not verify. "" when all is well. */
    struct str warning;
};

/* All in the arena; the texts of the query and of the arrival must outlive the result. Always sets *ret. */
void forecast(struct resolver *, const struct forecast_query *, struct arena *, struct forecast *ret);

/* The same in two steps, for several addresses: the identity once (source and ehlo are not looked at), then
 * for each source a query that differs in source, ehlo, reverse_path and deadline at most. */
void forecast_identity(struct resolver *, const struct forecast_query *, struct arena *,
                       struct forecast_identity *ret);
void forecast_source(struct resolver *, const struct forecast_query *, const struct forecast_identity *,
                     struct arena *, struct forecast *ret);

/* The second step in two, so that SPF can be asked beside the identity: SPF, then what follows without the
 * DNS. */
void forecast_spf(struct resolver *, const struct forecast_query *, struct arena *, struct spf_check *ret);
void forecast_conclude(const struct forecast_query *, const struct forecast_identity *,
                       const struct spf_check *, struct arena *, struct forecast *ret);
