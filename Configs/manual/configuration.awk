# The manual page (man(7)) of the configuration file, of the file itself, which documents every key.
# Invariant: each comment, section and key of the file stands on the page, in its order.
#
#   awk -v date=2026-01-31 -v version=1.0 -f configuration.awk sluiced.toml
#
# A comment belongs to the key or the section below it. A key or a section behind a # is one without a
# default.

BEGIN {
    printf ".\\\" Made from Configs/sluiced.toml.\n"
    printf ".TH SLUICED.TOML 5 %s \"Sluice %s\" \"Sluice\"\n", date, version
    print ".SH NAME\nsluiced.toml \\- configuration of sluiced"
    print ".SH SYNOPSIS\n.I /etc/sluice/sluiced.toml\n.SH DESCRIPTION"
}

{ line = $0 }
line ~ /^# \[[^ ]*\]$/ || line ~ /^# [a-z_0-9]+ = .*[^.]$/ { line = substr(line, 3) }

line ~ /^\[/ { section(line); next }
line ~ /^[a-z]/ { key($0); next }
line == "" { if (!started) print_text(); next }
{ comment(line) }

END { print ".SH SEE ALSO\n.BR sluiced (8) ,\n.BR sluicectl (1)" }

function roff(text) {
    gsub(/\\/, "\\e", text)
    gsub(/--/, "\\-\\-", text)
    return text ~ /^[.']/ ? "\\&" text : text
}

# A line behind "#   " with columns is printed as it is; other lines are prose, a sentence a line.
function comment(line, isTable) {
    isTable = line ~ /^#   [^ ].*   /
    if (isTable != inTable) text = text (isTable ? ".PP\n.nf\n" : ".fi\n.PP\n")
    inTable = isTable
    sub(/^# ?/, "", line)
    if (isTable) { text = text roff(line) "\n"; return }
    sub(/^ +/, "", line)
    while (match(line, /[.?] [A-Z]/)) {
        text = text roff(substr(line, 1, RSTART)) "\n"
        line = substr(line, RSTART + 2)
    }
    text = text (line == "" ? ".PP" : roff(line)) "\n"
}

# Prints the comment so far.
function print_text() {
    printf "%s%s", text, inTable ? ".fi\n" : ""
    text = ""
    inTable = 0
}

# The file's head ends where the first key or section begins.
function begin_keys() {
    if (!started) print ".SH KEYS"
    started = 1
}

function section(name) {
    begin_keys()
    print ".SS " roff(name)
    print_text()
}

function key(line) {
    begin_keys()
    print ".TP\n\\fB" roff(line) "\\fR"
    if (text == "") print "\\&"
    print_text()
}
