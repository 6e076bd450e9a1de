#!/usr/bin/env bash
# exim 4.96 (Debian 12) answers 250 to fifteen messages of a connection, and delivers ten.
#
# Expected: a message that was answered with 250 is delivered at once, as the first ones of the
# same connection are; nothing is wrong with any of them, and the server has nothing else to do.
# Seen: the eleventh and later wait in the queue for the next queue run, half an hour as Debian sets
# it: smtp_accept_queue_per_connection is 10 by default. No answer says so.
#
# Needs Debian's package exim4-daemon-light, and root, as whom exim starts. It speaks SMTP over
# standard input here: it listens nowhere, and its folders are temporary.
set -euo pipefail
PATH=$PATH:/usr/sbin
command -v exim4 > /dev/null || {
    echo "there is no exim4: apt-get install exim4-daemon-light" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || {
    echo "exim4 delivers only when root has started it" >&2
    exit 1
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/spool" "$folder/log" "$folder/mail"
chmod 755 "$folder"
chown Debian-exim: "$folder"/*

cat > "$folder/settings" << EXIM
primary_hostname = localhost
spool_directory = $folder/spool
log_file_path = $folder/log/%s
keep_environment =
acl_smtp_rcpt = accept
begin acl
accept:
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  file = $folder/mail/box
  user = Debian-exim
EXIM

{
    printf 'EHLO localhost\r\n'
    for number in {1..15}; do
        printf 'MAIL FROM:<ann@localhost>\r\nRCPT TO:<bob@localhost>\r\nDATA\r\n'
        printf 'Subject: message %d\r\n\r\ntext\r\n.\r\n' "$number"
    done
    printf 'QUIT\r\n'
} > "$folder/dialogue"
exim4 -C "$folder/settings" -odf -bs < "$folder/dialogue" > "$folder/answers" 2> "$folder/errors"

accepted=$(grep -c '^250 OK id=' "$folder/answers")
delivered=$(grep -c '^Subject: message' "$folder/mail/box")
queued=$(exim4 -C "$folder/settings" -bpc)
echo "exim $(exim4 --version | awk 'NR == 1 { print $3 }'): $accepted messages were accepted," \
    "$delivered delivered, $queued are in the queue"
[ "$accepted $delivered $queued" = "15 10 5" ] || {
    echo "exim has changed" >&2
    exit 1
}
