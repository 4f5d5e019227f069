#include "cmd/cli.h"

#include <stdarg.h>
#include <stdlib.h>

static const struct cli_option common[] = {
    {"config", 'c', "FILE", "configuration (" CLI_CONFIG ")"},
    {"socket", 0, "PATH", "the daemon's API socket (of the configuration)"},
    {"json", 0, NULL, "one JSON object per line"},
    {"csv", 0, NULL, "comma-separated, with a header"},
    {"no-color", 0, NULL, "no colours on a terminal"},
    {"help", 'h', NULL, "this text"},
    {"version", 0, NULL, "the version"},
    {0},
};

int cli_usage(struct cli *cli, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("sluice: ", cli->err);
    vfprintf(cli->err, format, args);
    fputc('\n', cli->err);
    va_end(args);
    return CLI_USAGE;
}

const char *cli_nearest(struct arena *arena, const char *word, const char *const *names, size_t count) {
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2;
    for (size_t i = 0; i < count; i++) {
        size_t distance = str_distance(str_of(word), str_of(names[i]));
        if (distance < least)
            least = distance, best = names[i];
    }
    return best ? str_printf(arena, "; did you mean '%s'?", best).at : "";
}

static const struct cli_option *find(const struct cli_option *options, struct str name, char letter) {
    for (const struct cli_option *o = options; o && o->name; o++)
        if (name.at ? str_eq(str_of(o->name), name) : o->letter && o->letter == letter)
            return o;
    return NULL;
}

static int unknown(struct cli *cli, const struct cli_option *options, const char *word, struct str name) {
    const char *names[128];
    size_t count = 0;
    for (const struct cli_option *o = options; o && o->name && count < 100; o++)
        names[count++] = str_printf(cli->arena, "--%s", o->name).at;
    for (const struct cli_option *o = common; o->name; o++)
        names[count++] = str_printf(cli->arena, "--%s", o->name).at;
    const char *full = name.at ? str_printf(cli->arena, "--%.*s", STR_FMT(name)).at : word;
    return cli_usage(cli, "no such option: %s%s", full, cli_nearest(cli->arena, full, names, count));
}

/* True: it was a common option. */
static bool take_common(struct cli *cli, const struct cli_option *option, const char *value) {
    if (option < common || option >= common + sizeof common / sizeof common[0])
        return false;
    if (str_eq(str_of(option->name), STR("config")))
        cli->config = value, cli->config_given = true;
    else if (str_eq(str_of(option->name), STR("socket")))
        cli->socket = value;
    else if (str_eq(str_of(option->name), STR("json")))
        cli->json = true;
    else if (str_eq(str_of(option->name), STR("csv")))
        cli->csv = true;
    else if (str_eq(str_of(option->name), STR("no-color")))
        cli->colour = false;
    else if (str_eq(str_of(option->name), STR("version")))
        cli->version = true;
    else
        cli->help = true;
    return true;
}

/* The value of an option: after '=', the rest of a short one's word, or the next word. */
static int take(struct cli *cli, const struct cli_option *option, struct str inside, int argc,
                const char *const *argv, int *at, struct cli_arguments *arguments) {
    struct str value = STR("");
    if (option->value && inside.at) {
        value = inside;
    } else if (option->value && option->value[0] != '[') {
        if (*at + 1 >= argc)
            return cli_usage(cli, "--%s wants a value: %s", option->name, option->value);
        value = str_of(argv[++*at]);
    } else if (!option->value && inside.at) {
        return cli_usage(cli, "--%s takes no value", option->name);
    }
    if (!take_common(cli, option, value.at))
        arguments->given[arguments->given_count++] = (struct cli_given){option, value};
    return CLI_DONE;
}

static int take_long(struct cli *cli, const struct cli_option *options, int argc, const char *const *argv,
                     int *at, struct cli_arguments *arguments) {
    struct str name = str_of(argv[*at] + 2), inside = STR_NULL;
    ptrdiff_t equals = str_index(name, '=');
    if (equals >= 0) {
        inside = str_from_index(name, (size_t)equals + 1);
        name = str_head(name, (size_t)equals);
    }
    const struct cli_option *option = find(options, name, 0);
    if (!option)
        option = find(common, name, 0);
    return option ? take(cli, option, inside, argc, argv, at, arguments)
                  : unknown(cli, options, argv[*at], name);
}

/* "-i", "-fADDRESS", "-f ADDRESS"; flags may share one dash. */
static int take_short(struct cli *cli, const struct cli_option *options, int argc, const char *const *argv,
                      int *at, struct cli_arguments *arguments) {
    const char *word = argv[*at];
    for (const char *p = word + 1; *p; p++) {
        const struct cli_option *option = find(options, STR_NULL, *p);
        if (!option)
            option = find(common, STR_NULL, *p);
        if (!option && cli->lenient)
            return CLI_DONE;
        if (!option)
            return unknown(cli, options, word, STR_NULL);
        if (option->value)
            return take(cli, option, p[1] ? str_of(p + 1) : STR_NULL, argc, argv, at, arguments);
        int bad = take(cli, option, STR_NULL, argc, argv, at, arguments);
        if (bad)
            return bad;
    }
    return CLI_DONE;
}

int cli_parse(struct cli *cli, const struct cli_option *options, int argc, const char *const *argv,
              struct cli_arguments *ret) {
    struct cli_arguments arguments = {
        .given = arena_array(cli->arena, struct cli_given, (size_t)argc * 8 + 64),
        .words = arena_array(cli->arena, const char *, (size_t)argc + 1),
    };
    size_t room = (size_t)argc * 8 + 64;
    bool words_only = false;
    for (int at = 0; at < argc; at++) {
        const char *word = argv[at];
        int bad = CLI_DONE;
        if (arguments.given_count + strlen(word) >= room)
            return cli_usage(cli, "too many options");
        if (words_only || word[0] != '-' || !word[1])
            arguments.words[arguments.word_count++] = word;
        else if (strcmp(word, "--") == 0)
            words_only = true;
        else if (word[1] == '-')
            bad = take_long(cli, options, argc, argv, &at, &arguments);
        else
            bad = take_short(cli, options, argc, argv, &at, &arguments);
        if (bad)
            return bad;
    }
    *ret = arguments;
    return CLI_DONE;
}

struct str cli_value(const struct cli_arguments *arguments, const char *name) {
    for (size_t i = arguments->given_count; i-- > 0;)
        if (str_eq(str_of(arguments->given[i].option->name), str_of(name)))
            return arguments->given[i].value;
    return STR_NULL;
}

static void list_options(struct cli *cli, const struct cli_option *options) {
    enum { LEFT = 24, DOC = 31 };
    for (const struct cli_option *o = options; o && o->name; o++) {
        char left[64], letter[] = {'-', o->letter, ',', ' ', 0};
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        fprintf(cli->out, "  %s%-*s ", o->letter ? letter : "    ", LEFT, left);
        cli_wrap(cli, DOC, str_of(o->doc));
    }
}

/* Also where the output is no terminal, help fits one of 80 columns. */
static unsigned help_width(const struct cli *cli) { return cli->width ? cli->width : 80; }

void cli_help(struct cli *cli, const struct cli_command *command) {
    cli->width = help_width(cli);
    int column = fprintf(cli->out, "usage: sluice %s ", command->name);
    cli_wrap(cli, (unsigned)column,
             str_printf(cli->arena, "%s%s", command->options ? "[OPTIONS] " : "", command->words));
    fprintf(cli->out, "\n%s.\n\n", command->doc);
    list_options(cli, command->options);
    fputs("\nEverywhere:\n", cli->out);
    list_options(cli, common);
}

static void help_all(struct cli *cli, const struct cli_command *const *commands) {
    cli->width = help_width(cli);
    fputs("usage: sluice [-c FILE] COMMAND [OPTIONS]\n\n", cli->out);
    for (size_t i = 0; commands[i]; i++) {
        fprintf(cli->out, "  %-9s ", commands[i]->name);
        cli_wrap(cli, 12, str_of(commands[i]->doc));
    }
    fputs("\nsluice COMMAND --help says more. Everywhere:\n", cli->out);
    list_options(cli, common);
    fputs("\nExit: 0 done, 1 the answer is no, 2 usage, 3 the daemon or the DNS does not answer.\n",
          cli->out);
}

static const struct cli_command *find_command(struct cli *cli, const struct cli_command *const *commands,
                                              const char *name) {
    const char *names[64];
    size_t count = 0;
    for (; commands[count] && count < 64; count++) {
        if (strcmp(commands[count]->name, name) == 0)
            return commands[count];
        names[count] = commands[count]->name;
    }
    cli_usage(cli, "no such command: %s%s", name, cli_nearest(cli->arena, name, names, count));
    return NULL;
}

/* The common options that stand before the command: their words are skipped to find it. */
static int command_index(int argc, const char *const *argv) {
    for (int at = 1; at < argc; at++) {
        if (argv[at][0] != '-')
            return at;
        if (strcmp(argv[at], "-c") == 0 || strcmp(argv[at], "--config") == 0 ||
            strcmp(argv[at], "--socket") == 0)
            at++;
    }
    return argc;
}

int cli_main(struct cli *cli, const struct cli_command *const *commands, int argc, const char *const *argv) {
    struct cli_arguments arguments;
    int at = command_index(argc, argv);
    int bad = cli_parse(cli, NULL, at - 1, argv + 1, &arguments);
    if (bad)
        return bad;
    if (cli->version)
        return fprintf(cli->out, "sluice %s\n", SLUICE_VERSION), CLI_DONE;
    if (at == argc) {
        FILE *out = cli->out;
        cli->out = cli->help ? out : cli->err;
        help_all(cli, commands);
        cli->out = out;
        return cli->help ? CLI_DONE : CLI_USAGE;
    }
    const struct cli_command *command = find_command(cli, commands, argv[at]);
    if (!command)
        return CLI_USAGE;
    bad = cli_parse(cli, command->options, argc - at - 1, argv + at + 1, &arguments);
    if (bad)
        return bad;
    if (cli->help)
        return cli_help(cli, command), CLI_DONE;
    return command->run(cli, &arguments);
}
