/*
 * How a letter looks: a line of a table, a member of a JSON document.
 */
#ifndef FOLENI_TOOLS_LETTER_SHOW_H
#define FOLENI_TOOLS_LETTER_SHOW_H

#include "tools/letter.h"

void letter_print_head(void);
void letter_print_line(const struct letter_view *l);

/** As an element of the array, or a member @p j is at. Phones are masked. */
void letter_put(const struct letter_view *l, struct json_out *j);

#endif
