/* tables.h - a small configuration for the engine's own tests. */
#pragma once
#include "config/config.h"

static const char *const COLOURS[] = {"red", "green", "blue", NULL};

static const struct config_option INNER[] = {
    {"depth", CONFIG_INTEGER, .preset = "3", .min = 1, .max = 9, .doc = "How deep."},
    {"names", CONFIG_LIST, .doc = "Names."},
    {.kind = CONFIG_END},
};

static const struct config_option POOL[] = {
    {"class", CONFIG_STRING, .doc = "Code."},
    {"addresses", CONFIG_LIST, .min = 1, .required = true, .doc = "Addresses."},
    {"colour", CONFIG_ENUM, .preset = "green", .words = COLOURS, .doc = "A | colour."},
    {"inner", CONFIG_SECTION, .options = INNER, .doc = "More."},
    {.kind = CONFIG_END},
};

static const struct config_option ROOT[] = {
    {"node", CONFIG_STRING, .preset_doc = "the host's name", .doc = "Name."},
    {"workers", CONFIG_INTEGER, .preset = "2", .min = 1, .max = 64, .doc = "Threads.",
     .reload = CONFIG_RESTART},
    {"max-size", CONFIG_SIZE, .preset = "25mb", .min = 1024, .max = 1 << 30, .doc = "Size."},
    {"expire", CONFIG_DURATION, .preset = "24h", .doc = "Time."},
    {"strict", CONFIG_BOOL, .preset = "on", .doc = "Flag."},
    {"later", CONFIG_STRING, .inactive = true, .doc = "Not yet."},
    {"servers", CONFIG_LIST, .preset = "127.0.0.1", .doc = "Servers."},
    {"tls", CONFIG_SECTION, .options = INNER, .doc = "TLS."},
    {"pool", CONFIG_TITLED, .options = POOL, .title_doc = "pool name", .doc = "A pool."},
    {.kind = CONFIG_END},
};
