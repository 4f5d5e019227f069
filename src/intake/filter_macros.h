/* filter_macros.h - the macros that milters ask for, as Sendmail and Postfix name them. */
#pragma once
#include "acceptance/accept.h"
#include "smtp/server.h"

/* Where their values come from. */
struct filter_view {
    const struct settings *settings;
    struct str listener;                /* "" : the API's socket */
    const struct smtp_session *session; /* NULL: a submission */
    struct str client_name;             /* confirmed, or "[192.0.2.1]" */
    struct str client_ptr;              /* as its PTR says, whether true or not; "" : it has none */
    struct str client_resolve;          /* OK, FAIL, FORGED, TEMP, as Sendmail says it */
    const struct acceptance *a;         /* the message at hand; NULL: none */
    struct str rcpt;                    /* the recipient at hand; at == NULL: none */
    const struct outcome *rcpt_refused; /* it was refused; NULL: it wasn't */
};

/* The value of "i", "{mail_addr}"...; the NULL view: it has none now. In the arena. */
struct str filter_macro(const struct filter_view *, struct str name, struct arena *);
