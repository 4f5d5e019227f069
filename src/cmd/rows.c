#include "base/clock.h"
#include "cmd/cli.h"
#include <jansson.h>
#include <stdlib.h>

void cli_print(struct cli *cli, struct str bytes) {
    if (bytes.len)
        fwrite(bytes.at, 1, bytes.len, cli->out);
}

static struct str text_of(struct arena *arena, json_t *value) {
    if (json_is_string(value))
        return str_copy(arena, str_from(json_string_value(value), json_string_length(value)));
    if (json_is_integer(value))
        return str_printf(arena, "%lld", (long long)json_integer_value(value));
    if (json_is_real(value))
        return str_printf(arena, "%g", json_real_value(value));
    if (json_is_boolean(value))
        return json_is_true(value) ? STR("yes") : STR("no");
    return STR_NULL;
}

static bool time_of(struct str text, int64_t *ret) { return text.len && clock_parse_rfc3339(text, ret); }

static struct str shown(struct arena *arena, enum cli_kind kind, json_t *value) {
    struct str text = text_of(arena, value);
    int64_t time, now = clock_wall_ms();
    switch (kind) {
    case CLI_TIME: /* 2026-11-22T12:00:00.123Z */
        return text.len >= 19 ? str_printf(arena, "%.5s %.8s", text.at + 5, text.at + 11) : text;
    case CLI_AGE:
        return time_of(text, &time) ? cli_duration(arena, now - time) : text;
    case CLI_DUE:
        if (!time_of(text, &time))
            return text;
        return time <= now ? STR("now")
                           : str_printf(arena, "in %.*s", STR_FMT(cli_duration(arena, time - now)));
    case CLI_BYTES:
        return json_is_integer(value) ? cli_bytes(arena, json_integer_value(value)) : text;
    default:
        return cli_safe(arena, text, 0);
    }
}

static void csv_cell(FILE *out, struct str text) {
    bool quoted = false;
    for (size_t i = 0; i < text.len && !quoted; i++)
        quoted = strchr(",\"\r\n", text.at[i]) != NULL;
    if (quoted)
        fputc('"', out);
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '"')
            fputc('"', out);
        fputc(text.at[i], out);
    }
    if (quoted)
        fputc('"', out);
}

static void csv_row(struct cli *cli, json_t *row, bool header) {
    const char *key, *separator = "";
    json_t *value;
    json_object_foreach(row, key, value) {
        fputs(separator, cli->out);
        csv_cell(cli->out, header ? str_of(key) : text_of(cli->arena, value));
        separator = ",";
    }
    fputc('\n', cli->out);
}

static bool delivered(json_t *row) {
    const char *status = json_string_value(json_object_get(row, "status"));
    return status && strcmp(status, "Delivered") == 0;
}

static void fill_cells(struct arena *arena, json_t *row, const struct cli_table *table,
                       struct cli_cell *cells) {
    for (size_t i = 0; i < table->column_count; i++) {
        const struct cli_column *column = &table->columns[i];
        bool silent = column->kind == CLI_CAUSE && delivered(row);
        cells[i].text = silent ? STR_NULL : shown(arena, column->kind, json_object_get(row, column->key));
        cells[i].paint = column->kind == CLI_STATUS ? cli_paint_of(cells[i].text) : CLI_PLAIN;
        if (!cells[i].text.len)
            cells[i].text = STR("-");
    }
}

static size_t count_lines(struct str lines) {
    size_t count = 0;
    for (size_t i = 0; i < lines.len; i++)
        count += lines.at[i] == '\n';
    return count;
}

size_t cli_rows(struct cli *cli, struct str lines, const struct cli_column *columns) {
    struct cli_table table = {.columns = columns};
    size_t count = count_lines(lines);
    struct str line;
    if (cli->json) {
        cli_print(cli, lines);
        return count;
    }
    while (columns && columns[table.column_count].title)
        table.column_count++;
    table.cells = arena_array(cli->arena, struct cli_cell, table.column_count * (count + 1));
    while (str_cut(&lines, '\n', &line)) {
        json_t *row = json_loadb(line.at, line.len, 0, NULL);
        if (json_is_object(row) && cli->csv) {
            if (table.row_count++ == 0)
                csv_row(cli, row, true);
            csv_row(cli, row, false);
        } else if (json_is_object(row)) {
            fill_cells(cli->arena, row, &table, &table.cells[table.row_count++ * table.column_count]);
        }
        json_decref(row);
    }
    if (!cli->csv && table.row_count)
        cli_table(cli, &table);
    return table.row_count;
}

void cli_object(struct cli *cli, struct str line) {
    const char *key;
    json_t *value, *row = json_loadb(line.at, line.len, 0, NULL);
    int widest = 0;
    if (cli->json || cli->csv) {
        if (cli->json)
            cli_print(cli, line);
        else if (json_is_object(row))
            csv_row(cli, row, true), csv_row(cli, row, false);
        json_decref(row);
        return;
    }
    json_object_foreach(row, key, value) widest = (int)strlen(key) > widest ? (int)strlen(key) : widest;
    json_object_foreach(row, key, value) {
        struct str text = cli_safe(cli->arena, text_of(cli->arena, value), 0);
        char *name = strdup(key);
        for (char *p = name; p && *p; p++)
            *p = *p == '_' ? ' ' : *p;
        fprintf(cli->out, "%s%-*s%s  %.*s\n", cli_paint(cli, CLI_DIM), widest, name ? name : key,
                cli_paint(cli, CLI_PLAIN), STR_FMT(text.len ? text : STR("-")));
        free(name);
    }
    json_decref(row);
}
