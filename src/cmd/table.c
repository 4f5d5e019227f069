#include "cmd/cli.h"

enum { GAP = 2 };

static unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }

/* The width each column would like, and the sum with gaps; dropped ones count 0. */
static unsigned total(const unsigned *widths, const bool *shown, size_t count) {
    unsigned sum = 0;
    for (size_t i = 0; i < count; i++)
        if (shown[i])
            sum += widths[i] + (sum ? GAP : 0);
    return sum;
}

/* The least width at which no more need be left out. */
static unsigned least_total(const struct cli_table *t, const unsigned *widths, const bool *shown) {
    unsigned sum = 0;
    for (size_t i = 0; i < t->column_count; i++)
        if (shown[i]) {
            unsigned least = max(t->columns[i].least, t->columns[i].want);
            sum += (least && least < widths[i] ? least : widths[i]) + (sum ? GAP : 0);
        }
    return sum;
}

/* Leaves out what is least needed until the rest can be cut to fit. */
static void drop(const struct cli_table *t, const unsigned *widths, bool *shown, unsigned width) {
    while (least_total(t, widths, shown) > width) {
        size_t victim = t->column_count;
        for (size_t i = 0; i < t->column_count; i++)
            if (shown[i] && t->columns[i].drop &&
                (victim == t->column_count || t->columns[i].drop > t->columns[victim].drop))
                victim = i;
        if (victim == t->column_count)
            return;
        shown[victim] = false;
    }
}

/* Takes columns away from the widest that may be cut; `hard`: below what it wants, too. */
static void cut(const struct cli_table *t, unsigned *widths, const bool *shown, unsigned width, bool hard) {
    while (total(widths, shown, t->column_count) > width) {
        size_t widest = t->column_count;
        for (size_t i = 0; i < t->column_count; i++) {
            unsigned least = max(t->columns[i].least, hard ? 0 : t->columns[i].want);
            if (shown[i] && t->columns[i].least && widths[i] > least &&
                (widest == t->column_count || widths[i] > widths[widest]))
                widest = i;
        }
        if (widest == t->column_count)
            return;
        widths[widest]--;
    }
}

static void print_cell(struct cli *cli, struct cli_cell cell, unsigned width, bool right, bool last) {
    struct str text = cli_width(cell.text) > width ? cli_safe(cli->arena, cell.text, width) : cell.text;
    unsigned used = cli_width(text);
    int pad = (int)(width > used ? width - used : 0);
    if (right)
        fprintf(cli->out, "%*s", pad, "");
    if (cell.paint != CLI_PLAIN)
        fputs(cli_paint(cli, cell.paint), cli->out);
    fprintf(cli->out, "%.*s", STR_FMT(text));
    if (cell.paint != CLI_PLAIN)
        fputs(cli_paint(cli, CLI_PLAIN), cli->out);
    if (!last)
        fprintf(cli->out, "%*s", (right ? 0 : pad) + GAP, "");
}

static void print_row(struct cli *cli, const struct cli_table *t, const struct cli_cell *cells,
                      const unsigned *widths, const bool *shown) {
    size_t last = 0;
    for (size_t i = 0; i < t->column_count; i++)
        last = shown[i] ? i : last;
    for (size_t i = 0; i < t->column_count; i++) {
        bool right = t->columns[i].kind == CLI_NUMBER || t->columns[i].kind == CLI_BYTES;
        if (shown[i])
            print_cell(cli, cells[i], widths[i], right, i == last);
    }
    fputc('\n', cli->out);
}

void cli_table(struct cli *cli, const struct cli_table *t) {
    unsigned *widths = arena_array(cli->arena, unsigned, t->column_count);
    bool *shown = arena_array(cli->arena, bool, t->column_count);
    struct cli_cell *titles = arena_array(cli->arena, struct cli_cell, t->column_count);
    for (size_t i = 0; i < t->column_count; i++) {
        titles[i] = (struct cli_cell){str_of(t->columns[i].title), CLI_BOLD};
        widths[i] = cli_width(titles[i].text);
        shown[i] = true;
        for (size_t row = 0; row < t->row_count; row++)
            widths[i] = max(widths[i], cli_width(t->cells[row * t->column_count + i].text));
    }
    if (cli->width) {
        drop(t, widths, shown, cli->width);
        cut(t, widths, shown, cli->width, false);
        cut(t, widths, shown, cli->width, true);
    }
    print_row(cli, t, titles, widths, shown);
    for (size_t row = 0; row < t->row_count; row++)
        print_row(cli, t, &t->cells[row * t->column_count], widths, shown);
}
