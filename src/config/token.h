/* token.h - the words and signs of one configuration text. Not for other rooms. */
#pragma once
#include "config/node.h"

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_QUOTED, TOKEN_SIGN, TOKEN_BAD };

struct token {
    enum token_kind kind;
    char sign;       /* TOKEN_SIGN: one of { } ( ) = , or '+' for "+=" */
    struct str text; /* as written, with its quotes */
    int line;
};

struct scanner {
    struct str rest;
    const char *file;
    int line;
    struct config_errors *errors; /* NULL: looks ahead, reports nothing */
};

/* The next token; comments and white space are skipped. BAD: reported, and the rest can't be read. */
struct token scanner_next(struct scanner *);

/* The content of a quoted token or a word when it holds no escape and no ${NAME}. */
bool token_plain(const struct token *, struct str *ret_text);
