/* csv.h - events as the extended message trace report writes them (RFC 4180, lines end with LF).
 *
 * Columns: client_ip ... custom_data as in Microsoft 365; the time of the event is in custom_data (DateTime),
 * that of arrival in message_info. A recipient that waits or failed has its recipient_status as [{LED=last
 * error};{MSG=...};{FQDN=...};{IP=...};{LRT=last try}].
 */
#pragma once
#include "trace/event.h"

void trace_csv_header(struct buf *);
void trace_csv_row(struct buf *, const struct trace_event *);

/* Appends one pair of custom_data, with the ';' that separates it from the one before: S:key=value, quoted
 * as 'S:key=a=b;c=d' when the value holds ';' or '=' (a quote inside is doubled). An absent value adds
 * nothing. */
void trace_custom_pair(struct buf *, const char *key, struct str value);
