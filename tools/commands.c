/*
 * Every command, once: from these rows come the dispatch and the help.
 */
#include "tools/cli.h"
#include "tools/letter.h"

const struct command commands[] = {
    {
        .name = "config show",
        .summary = "the settings that hold, and where each came from",
        .help = "Shows every setting: path, value, unit, where the value came "
                "from (default,\nfile and line, or --set) and what it is for. "
                "Secrets are shown by where they are\nread from, never by what "
                "they are.",
        .examples = "  foleni config show -c config.cfg | grep ^worker\n"
                    "  foleni config show -c config.cfg --json\n",
        .run = config_show_run,
    },
    {
        .name = "config defaults",
        .summary = "the commented file of all defaults",
        .help = "Prints a configuration file with every setting, its default, "
                "what it is for and\nwhat is allowed: the file that is shipped "
                "as config.cfg.",
        .examples = "  foleni config defaults > config.cfg\n",
        .run = config_defaults_run,
    },
    {
        .name = "clock accept",
        .summary = "after the database's clock stepped: believe it",
        .help = "Workers doubt the database's clock once it has stepped by "
                "more than 5 s, or when\nthe log holds records from its "
                "future: nothing is pushed and nothing expires. That\nends by "
                "itself when the clock is back, or with this word. What is due "
                "or past its\ndeadline by the new time is so then.",
        .examples = "  foleni clock accept -c config.cfg --why \"NTP was off "
                    "since the reboot\"\n",
        .options = CLI_OPERATOR,
        .run = clock_accept_run,
    },
    {
        .name = "dead list",
        .summary = "dead letters: the newest, or how many of which kind",
        .help =
            "Lists letters of payments.dead by a filter: payments whose "
            "attempts are spent, and\nrecords that no payment could be made "
            "of. --group-by counts instead, as\nclass,code,hour. Phones are "
            "masked.",
        .examples = "  foleni dead list -c config.cfg --from 2h --class "
                    "provider\n"
                    "  foleni dead list -c config.cfg --group-by "
                    "class,code,hour\n"
                    "  foleni dead list -c config.cfg --phone 0712345678 "
                    "--json\n",
        .options = CLI_LETTERS | CLI_GROUP_BY | CLI_LIMIT,
        .run = dead_list_run,
    },
    {
        .name = "dead show",
        .operands = "LETTER",
        .summary = "one dead letter whole, and its payment",
        .help =
            "Shows the headers and the record of one letter, byte for byte, "
            "and the timeline of\nits payment. LETTER is its place, as "
            "`dead list` shows it.",
        .examples = "  foleni dead show 3:1207 -c config.cfg\n",
        .run = dead_show_run,
    },
    {
        .name = "dead replay",
        .summary = "brings dead letters back, at a rate",
        .help =
            "Finds letters by the filter, says what would become of each "
            "and why, asks, and\nbrings back those that may: payments with "
            "all their attempts and a new deadline,\nafter a status query "
            "has confirmed the end of the last attempt; records, signed\n"
            "anew, to their topic. Refused are letters of payments that are "
            "paid, unknown, under\nway, ordered again, replayed too often, "
            "past expires_at, and all but the newest\nletter of each.\n"
            "The letters are fixed at the start. The first few are a probe; "
            "the rest follow when\nthose fare well. It stops by itself when "
            "a breaker opens, and may be stopped or\nkilled at any moment: "
            "--resume goes on, and no letter has a second effect.",
        .examples = "  foleni dead replay -c config.cfg --class provider "
                    "--from 3h --dry-run\n"
                    "  foleni dead replay -c config.cfg --class provider "
                    "--from 3h --rate 50 \\\n"
                    "      --why \"provider was down 02:10-02:40\"\n"
                    "  foleni dead replay -c config.cfg --resume 7 --why "
                    "\"breaker closed\"\n",
        .options = CLI_LETTERS | CLI_OPERATOR | CLI_DRY_RUN | CLI_RATE |
                   CLI_PROBE | CLI_DEADLINE | CLI_RESUME,
        .run = dead_replay_run,
    },
    {
        .name = "dead discard",
        .summary = "throws dead letters away; Postgres keeps them",
        .help = "Marks all letters that the filter means as thrown away: no "
                "replay brings them back.\nEach is kept whole in the table "
                "discards, with who did it and why. Payments stay as\nthey "
                "are.",
        .examples = "  foleni dead discard -c config.cfg --code invalid_json "
                    "--to 2026-11-01T00:00:00Z \\\n"
                    "      --why \"a test client of October\"\n",
        .options = CLI_LETTERS | CLI_OPERATOR,
        .run = dead_discard_run,
    },
    {
        .name = "doctor",
        .summary = "is all of it well? a line per check, and what to do",
        .help = "Looks at settings, Kafka and its topics, Postgres and its "
                "tables, clocks, disks, keys,\nDaraja's tokens, workers, "
                "payments that are stuck or untold, alarms and the last\n"
                "minutes of the audit trail. One line per check: ok, warn or "
                "fail, what was found,\nwhat to do. Changes nothing. What is "
                "away is said within seconds. A token is asked\nfor only where "
                "the fleet has none, since a new one may end the old one.\n"
                "--production adds what has to hold where real money is moved: "
                "TLS, an HTTPS\ncallback URL, Kafka and Postgres that lose "
                "nothing with a disk or a server, no keys\nof examples.\n"
                "Exit codes: 0 all is well, 75 there are warnings, 65 "
                "something fails, 78 settings.",
        .examples = "  foleni doctor -c config.cfg\n"
                    "  foleni doctor -c config.cfg --production --json\n",
        .options = CLI_PRODUCTION | CLI_DIR,
        .run = doctor_run,
    },
    {
        .name = "doctor audit",
        .summary = "verifies the audit trail, names the first break",
        .help = "Computes every hash of the audit trail again: the chain of "
                "each payment and the\npayment itself, the chain of what "
                "operators did, and the anchors over both. Changes\nnothing "
                "and may run beside the workers; reads all of it, some 100,000 "
                "rows per\nsecond. --from and --to limit it to payments that "
                "changed then, and to actions and\nanchors of that time. "
                "Needs a role that may read. Exit code 65 when the trail "
                "is\nbroken.",
        .examples = "  foleni doctor audit -c config.cfg\n"
                    "  foleni doctor audit -c config.cfg --json "
                    "--from 2026-11-01 --to 2026-12-01\n",
        .options = CLI_FROM | CLI_TO,
        .run = doctor_audit_run,
    },
    {
        .name = "migrate",
        .summary = "brings the database's tables to this version",
        .help = "Applies the files NNNN_name.sql that the database has not "
                "seen yet, in order,\neach in a transaction of its own. Only "
                "one runs at a time; others wait for it.\nAn applied file "
                "that was changed or is missing stops it: migrations are only"
                "\never added. At the end the group roles foleni_worker, "
                "foleni_operator,\nfoleni_reader and foleni_api, made where "
                "they are missing, get their rights. Needs\na role that may "
                "create tables, and roles where those are missing.",
        .examples = "  foleni migrate -c config.cfg --dry-run\n"
                    "  foleni migrate -c config.cfg\n",
        .options = CLI_DIR | CLI_DRY_RUN,
        .run = migrate_run,
    },
    {
        .name = "lag",
        .summary = "what waits in Kafka, by partition",
        .help = "Lists for each partition of the request topics where the "
                "claims stand, where the log\nends, how many records lie "
                "between and since when the first of them waits.",
        .examples = "  foleni lag -c config.cfg --json\n",
        .run = lag_run,
    },
    {
        .name = "pause",
        .operands = "POOL",
        .summary = "stops pushes of a priority pool",
        .help = "From within some seconds on no worker pushes payments of "
                "POOL (high, normal or low):\nthey stay in Kafka, and "
                "retries in the ledger. What has gone out goes on to its end,\n"
                "and deadlines pass. Who and why stand in the audit trail.",
        .examples = "  foleni pause low --until 2h --why \"month's end\"\n",
        .options = CLI_OPERATOR | CLI_UNTIL,
        .run = pause_run,
    },
    {
        .name = "pools",
        .summary = "how the priority pools keep up",
        .help = "Shows for each pool its workers (members of the group), "
                "partitions, how many records\nwait and since when, how many "
                "are claimed and arrive per second (looks for two\nseconds), "
                "pushes in the air, and how many workers it would take to "
                "drain what\nwaits --within that time (10m), at the rate that "
                "each has now.",
        .examples = "  foleni pools -c config.cfg --within 30m\n",
        .options = CLI_WITHIN,
        .run = pools_run,
    },
    {
        .name = "resume",
        .operands = "POOL",
        .summary = "ends the pause of a pool",
        .help = "Workers push payments of POOL again, within some seconds.",
        .examples = "  foleni resume low --why \"it is over\"\n",
        .options = CLI_OPERATOR,
        .run = resume_run,
    },
    {
        .name = "pull register",
        .operands = "SHORTCODE NUMBER",
        .summary = "registers a shortcode for Pull Transactions",
        .help = "Tells the provider that the shortcode will ask for its "
                "transactions by Pull, with\nNUMBER as the nominated phone. "
                "Once is enough, again is harmless. Workers ask when\n"
                "the shortcode's setting `pull` is post or get. Needs the "
                "shortcode's credentials\nand the database, where both the "
                "request and the answer stand in the audit trail.\nWorkers "
                "may have to fetch another access token afterwards.",
        .examples = "  foleni pull register 600000 0722000000 -c config.cfg "
                    "\\\n      --why \"go-live of the shop\"\n",
        .options = CLI_OPERATOR,
        .run = pull_register_run,
    },
    {
        .name = "purge",
        .summary = "removes payments that are over for long, audited",
        .help =
            "Removes payments, with their trail, that are over and have not "
            "changed for longer\nthan database.retention_h. What is open or "
            "unresolved, has an event that was not\ntold, an alarm that "
            "nobody has seen to or a trail that is not anchored stays. "
            "What\nthe anchors still cover is written beside them, so "
            "`doctor audit` goes on to verify\nthem. Refused while Kafka "
            "keeps requests as long as that, and where the trail is\nbroken. "
            "A key of a purged payment names a new payment. Needs the role "
            "foleni_operator.",
        .examples =
            "  foleni purge -c config.cfg --dry-run\n"
            "  foleni purge -c config.cfg --yes --why \"monthly, as the "
            "records policy has it\"\n",
        .options = CLI_OPERATOR | CLI_DRY_RUN,
        .run = purge_run,
    },
    {
        .name = "recover",
        .summary = "after Postgres or Kafka forgot: goes on safely",
        .help = "Compares what Kafka's groups have committed with what "
                "Postgres knows. Records that\nPostgres has forgotten (a "
                "standby was promoted without the last commits, a backup\nwas "
                "restored) are entered as unknown: they may have been pushed, "
                "so they are not\npushed again; evidence settles them, or a "
                "person. Offsets that hold no record,\nin front of the log or "
                "amid it, were requests for all that anybody knows: each is\n"
                "named, and given up with --skip-deleted. Workers go on with "
                "stopped partitions\nby themselves. Each partition is one row "
                "in the audit trail.",
        .examples = "  foleni recover -c config.cfg --dry-run\n"
                    "  foleni recover -c config.cfg --why \"standby promoted "
                    "after the fire\"\n",
        .options = CLI_OPERATOR | CLI_DRY_RUN | CLI_FORCE | CLI_SKIP_DELETED,
        .run = recover_run,
    },
    {
        .name = "topics create",
        .summary = "creates the Kafka topics that are missing",
        .help =
            "Creates each topic with the partitions, replicas and "
            "retention of the settings\nbelow `topics`. What exists is "
            "left as it is; what breaks a promise in it is said,\nand fails. "
            "The embedded broker (foleni-broker) makes its topics itself and "
            "needs no\nsuch call.",
        .examples = "  foleni topics create -c config.cfg\n"
                    "  foleni topics create -c config.cfg --set "
                    "topics.replication=1 \\\n"
                    "      --set topics.min_insync=1\n",
        .run = topics_create_run,
    },
    {
        .name = "topics diff",
        .summary = "what the broker has otherwise than planned",
        .help =
            "Compares the broker's topics with the plan. What breaks a "
            "promise is called UNSAFE:\nrequest and callback topics keep "
            "their records by time alone, under LogAppendTime,\nlonger than "
            "any deadline and less long than payments keep their rows\n"
            "(database.retention_h). Exit code 65 when anything differs.",
        .examples = "  foleni topics diff -c config.cfg\n",
        .run = topics_diff_run,
    },
    {
        .name = "topics list",
        .summary = "what `topics create` makes; asks no broker",
        .help = "Lists name, partitions, replicas, retention and kind of "
                "timestamps of each topic,\nas the settings have them.",
        .examples = "  foleni topics list -c config.cfg --json\n",
        .run = topics_list_run,
    },
    {
        .name = "alarms list",
        .summary = "what a person has to see to, of the ledger",
        .help = "Lists the alarms of payments that nobody has seen to: a "
                "possible double charge, paid\nlate or not as it was asked, a "
                "receipt that was given to another payment,\nunresolved.",
        .examples = "  foleni alarms list -c config.cfg --json\n",
        .run = alarms_list_run,
    },
    {
        .name = "alarms seen",
        .operands = "ALARM",
        .summary = "says that an alarm was seen to",
        .help = "Takes an alarm off the list. Who and why stand in the audit "
                "trail. That of an\nunresolved payment ends by itself with "
                "`foleni resolve`.",
        .examples = "  foleni alarms seen 17 --why \"refunded by RKT...\"\n",
        .options = CLI_OPERATOR,
        .run = alarms_seen_run,
    },
    {
        .name = "breaker list",
        .summary = "breakers and rates of the shortcodes, fleet-wide",
        .help = "Lists what stands before calls of each shortcode: the state "
                "of its breaker, why it\nopened last, when the next probe may "
                "go, who forced it; and the pushes per second\nthat may go "
                "now. Shortcode 0 is the way to the provider, whatever the "
                "shortcode.",
        .examples = "  foleni breaker list -c config.cfg --json\n",
        .run = breaker_list_run,
    },
    {
        .name = "breaker open",
        .operands = "SHORTCODE",
        .summary = "stops calls of a shortcode, fleet-wide",
        .help = "Forces the breaker open: no push of the shortcode (0: of any) "
                "leaves any worker\nafter two seconds; payments wait, and "
                "those in the air end as usual. When it\nends, by --for or by "
                "`foleni breaker auto`, a probe goes first, then a few\n"
                "payments, then a growing rate. Who and why stand in the "
                "audit trail.",
        .examples = "  foleni breaker open 174379 --for 30m "
                    "--why \"the bank's maintenance\"\n"
                    "  foleni breaker open 174379 --operation query "
                    "--why \"queries lie\"\n",
        .options = CLI_OPERATOR | CLI_OPERATION | CLI_FOR,
        .run = breaker_open_run,
    },
    {
        .name = "breaker close",
        .operands = "SHORTCODE",
        .summary = "keeps a breaker closed, come what may",
        .help = "Forces the breaker closed: faults of the provider open it no "
                "more. Who and why\nstand in the audit trail.",
        .examples = "  foleni breaker close 174379 --for 10m "
                    "--why \"Safaricom says that it is back\"\n",
        .options = CLI_OPERATOR | CLI_OPERATION | CLI_FOR,
        .run = breaker_close_run,
    },
    {
        .name = "breaker auto",
        .operands = "SHORTCODE",
        .summary = "ends what was forced",
        .help = "Leaves the breaker to itself again: one that was forced open "
                "is probed at once.",
        .examples = "  foleni breaker auto 174379 --why \"over\"\n",
        .options = CLI_OPERATOR | CLI_OPERATION,
        .run = breaker_auto_run,
    },
    {
        .name = "notices list",
        .summary = "money that no payment is known for, and decisions",
        .help = "Lists C2B and Pull records that fit no payment (unmatched) or "
                "several (ambiguous),\nand what still waits for a worker. The "
                "newest come first.",
        .examples = "  foleni notices list -c config.cfg --json\n",
        .run = notices_list_run,
    },
    {
        .name = "resolve",
        .operands = "PAYMENT",
        .summary = "a person decides about an unknown payment",
        .help =
            "Shows the payment, asks, writes the decision and waits until a "
            "worker has applied it.\nOne of:\n"
            "  --paid RECEIPT  M-Pesa's statement shows it; what callback, C2B "
            "or Pull say later\n                  outranks it\n"
            "  --not-paid      M-Pesa's statement does not show it, and it is "
            "over\n"
            "  --again         another push. The worker of the last one has to "
            "be proven dead,\n                  and you stand for it that "
            "the customer saw no prompt\n"
            "--force overrules what stands against it: a worker that may live, "
            "a notice of that\nreceipt with other facts. Who and why stand in "
            "the audit trail.",
        .examples =
            "  foleni resolve 0d1f... --paid RKTQDM7W6S "
            "--why \"seen in the portal\"\n"
            "  foleni resolve 0d1f... --not-paid --why \"not in the statement "
            "of that day\"\n",
        .options = CLI_OPERATOR | CLI_PAID | CLI_PAID_AT | CLI_NOT_PAID |
                   CLI_AGAIN | CLI_FORCE,
        .run = resolve_run,
    },
};
const size_t commands_n = ARRAY_LEN(commands);
