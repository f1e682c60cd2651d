# A manual page (man(7)) of a command's own help, as JSON: `COMMAND --experimental-dump-help`.
# Invariant: what the page says of a command, the command says of itself; nothing is told twice.
#
#   jq -r --arg section 8 --arg date 2026-01-31 --arg version 1.0 --arg others "a(1) b(5)" -f command.jq

# Text as roff: no escapes, no requests, options with hyphens that can be copied, and a new line for
# each sentence.
def roff:
    gsub("\\\\"; "\\e") | gsub("--"; "\\-\\-")
    | gsub("(?<end>[.?]) (?=[A-Z])"; .end + "\n")
    | split("\n") | map(if test("^[.']") then "\\&" + . else . end) | join("\n");
def bold: "\\fB\(gsub("-"; "\\-"))\\fR";
def italic: "\\fI\(gsub("-"; "\\-"))\\fR";

def dashed: (if .kind == "short" then "-" else "--" end) + .name;
def value: if .kind == "option" then " " + (.valueName | italic) else "" end;
def tag:
    if .kind == "positional" then .valueName | italic
    else ([.names[] | dashed | bold] | join(", ")) + value end;
def usage: . as $one |
    (if .kind == "positional" then .valueName | italic else (.preferredName | dashed | bold) + value end)
    + (if .isRepeating then " ..." else "" end)
    | if $one.isOptional then "[\(.)]" else . end;
def shown: [.arguments[]? | select(.shouldDisplay)];
def paragraphs: (.discussion // "") | split("\n") | map(select(. != ""));
def isStatus: startswith("Exit status: ");

# What each command takes, and its summary, with its name as it is typed.
def name: (.superCommands // []) + [.commandName] | join(" ");
def leaves:
    [.subcommands[]? | select(.commandName != "help" and .shouldDisplay)] as $below
    | if $below == [] then . else $below[] | leaves end;
def describe:
    ".TP", tag,
    ([(.abstract // empty | roff),
      (.allValueStrings // [] | select(. != []) | "One of \(map(bold) | join(", ")).")] | join("\n")
        | if . == "" then "\\&" else . end),
    (.defaultValue // empty | select(. != "") | "Without it: \(bold).");

.command as $root
| [$root | leaves] as $commands
| [$commands[0] | shown[] | select(. as $one | $commands | all(shown | index([$one]) != null))] as $common
| ([$commands[] | paragraphs[]] + ($root | paragraphs) | map(select(isStatus))) as $statuses
| def own: [shown[] | select(. as $one | $common | index([$one]) == null)];
  def typed:
    if .commandName == $root.defaultSubcommand then "\($root.commandName) [\(.commandName)]" else name end;
  ".\\\" Made from `\($root.commandName) --help`.",
  ".TH \($root.commandName | ascii_upcase) \($section) \($date) \"Sluice \($version)\" \"Sluice\"",
  ".SH NAME",
  "\($root.commandName) \\- \($root.abstract | (.[:1] | ascii_downcase) + .[1:] | rtrimstr("."))",
  ".SH SYNOPSIS",
  ($commands | to_entries[]
    | (if .key > 0 then ".br" else empty end),
      ".B \(.value | typed | gsub("-"; "\\-"))",
      (.value | own[] | usage)),
  ".SH DESCRIPTION",
  ([$root | paragraphs[] | select(isStatus | not) | roff] as $own
    | if $own != [] then $own | join("\n.PP\n") else $root.abstract | roff end),
  ".SH COMMANDS",
  ($commands[]
    | ".SS \(typed | gsub("-"; "\\-"))",
      (.abstract // "" | roff),
      (paragraphs[] | select($statuses == [] or (isStatus | not)) | ".PP", roff),
      (own[] | describe)),
  ".SH OPTIONS", "Each command takes these as well.", ($common[] | describe),
  ".SH EXIT STATUS",
  ($commands[] | name as $name | paragraphs[] | select(isStatus)
    | ".TP", ($name | bold), (ltrimstr("Exit status: ") | roff)),
  ($root | paragraphs[] | select(isStatus) | ltrimstr("Exit status: ") | roff),
  ".SH FILES",
  ([$commands[] | shown[] | select(.defaultValue // "" | startswith("/"))] | unique_by(.defaultValue)[]
    | ".TP", (.defaultValue | italic), (.abstract | roff)),
  ".SH SEE ALSO",
  ($others | split(" ") | map(capture("(?<page>.*)\\((?<section>.)\\)") | ".BR \(.page) (\(.section))")
    | join(" ,\n"))
