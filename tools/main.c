/*
 * foleni, the operator's command line. The commands are rows of commands.c.
 */
#include "tools/cli.h"

int main(int argc, char **argv)
{
    return cli_run(argc, argv);
}
