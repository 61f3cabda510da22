/*
 * `foleni config`: the settings as they hold, and the file of all defaults.
 */
#include "common/buf.h"
#include "common/config.h"
#include "tools/cli.h"

#include <stdio.h>

#define SHOWN_BYTES_MAX ((size_t)16 << 20) /* 1,000 clients and shortcodes */

static enum err_code print(struct buf *text, struct err *err)
{
    enum err_code code = ERR_NONE;

    if (text->failed)
        code = err_set(err, ERR_LIMIT, "cannot show more than %zu bytes",
                       SHOWN_BYTES_MAX);
    else
        fwrite(text->data, 1, text->len, stdout);
    buf_done(text);
    return code;
}

enum err_code config_show_run(const struct cli *cli, const struct config *cfg,
                              struct err *err)
{
    struct buf text;

    buf_init(&text, SHOWN_BYTES_MAX);
    if (cli_has(cli, CLI_JSON)) {
        config_show_json(cfg, &text);
        buf_addc(&text, '\n');
    } else {
        config_show(cfg, &text);
    }
    return print(&text, err);
}

enum err_code config_defaults_run(const struct cli *cli UNUSED,
                                  const struct config *cfg UNUSED,
                                  struct err *err)
{
    struct buf text;

    buf_init(&text, SHOWN_BYTES_MAX);
    config_write_default(&text);
    return print(&text, err);
}
