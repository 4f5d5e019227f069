#include "intake/submission.h"

#include "mail/received.h"

#define REFUSAL(code, enhanced, text)                                                                        \
    ((struct outcome){OUTCOME_MESSAGE, OUTCOME_NEVER, (code), STR(enhanced), STR(text), false})

/* A CR without its LF, or the other way round: receivers differ about the end of the data then. */
static bool lines_are_whole(struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        const char *next = memchr(text.at + i, '\n', text.len - i);
        size_t end = next ? (size_t)(next - text.at) : text.len;
        size_t line_end = next && end > i && text.at[end - 1] == '\r' ? end - 1 : end;
        if ((next && line_end == end) || memchr(text.at + i, '\r', line_end - i))
            return false;
        i = end;
    }
    return true;
}

bool submission_check(struct str sender, const struct str *recipients, size_t count, struct str message,
                      struct outcome *ret_refusal) {
    struct address parts;
    if (sender.len && (address_parse(sender, ADDRESS_ALLOW_UTF8, &parts) != 0 || !parts.domain.len)) {
        *ret_refusal = REFUSAL(553, "5.1.7", "The sender is no mail address");
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (address_parse(recipients[i], ADDRESS_ALLOW_UTF8, &parts) != 0 || !parts.domain.len) {
            *ret_refusal = REFUSAL(553, "5.1.3", "A recipient is no mail address");
            return false;
        }
    if (memchr(message.at, 0, message.len))
        *ret_refusal = REFUSAL(550, "5.6.0", "The message contains NUL bytes");
    else if (!lines_are_whole(message))
        *ret_refusal =
            REFUSAL(550, "5.6.11", "The message contains a bare CR or LF; lines must end with CRLF");
    else
        return true;
    return false;
}

bool submission_loops(const struct content *content, struct outcome *ret_refusal) {
    if (received_count(&content->original) < HEADER_RECEIVED_MAX)
        return false;
    *ret_refusal = REFUSAL(554, "5.4.6", "Too many Received fields: the message loops");
    return true;
}
