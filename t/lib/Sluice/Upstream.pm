package Sluice::Upstream;

# An upstream for what nginx as one cannot do: an answer in several packets,
# late, cut off, or none at all.  What is answered to a path, or to a key and
# a path ("KEY /path"), is a list:
#
#   'text'    is sent; $key in it is the request's Authorization, $body its
#             body, $n the number of its connection, $nth of it there
#   sub {}    returns such a text, at that time
#   \0.05     so many seconds of nothing
#   undef     the connection is closed; else the next request is awaited
#
# Its port is $TEST_NGINX_SLUICE_PORT.  To be started before run_tests().  It
# knows HTTP, and SCGI, which it tells by the request's first byte.

use strict;
use warnings;

use IO::Select ();
use IO::Socket::INET ();
use POSIX ();
use Time::HiRes qw( sleep );

my ($Pid, $Owner);

sub start {
    my (%answers) = @_;
    my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64)
        or die "cannot listen: $@";

    $ENV{TEST_NGINX_SLUICE_PORT} = $server->sockport;
    $Owner = $$;
    $Pid = fork // die "cannot fork: $!";

    return if $Pid;

    # who runs the tests waits for the end of their output, and this is none
    open $_, '>', '/dev/null' for \*STDOUT, \*STDERR;
    $SIG{$_} = 'DEFAULT' for qw( INT TERM HUP );
    $SIG{CHLD} = 'IGNORE';

    my $ready = IO::Select->new($server);

    for (my $n = 0; getppid == $Owner; ) {
        my $sock = $ready->can_read(1) && $server->accept or next;
        $n++;

        my $pid = fork;

        if (defined $pid && !$pid) {
            alarm 10;
            serve($sock, $n, \%answers);
            POSIX::_exit(0);
        }
    }

    POSIX::_exit(0);
}

sub serve {
    my ($sock, $n, $answers) = @_;
    my $in = '';

    for my $nth (1 .. 1000) {
        until ($in =~ /\r\n\r\n/ || $in =~ /^(\d+):/ && length $in >= $1 + 2 + length $1) {
            sysread $sock, $in, 65536, length $in or return;
        }

        $in = from_scgi($in) if $in =~ /^\d/;

        my ($path) = $in =~ m{^\S+ ([^\s?]+)};
        my ($key) = $in =~ /^Authorization: *([^\r]*)/mi;
        my ($length) = $in =~ /^Content-Length: *(\d+)/mi;

        $in =~ s/.*?\r\n\r\n//s;

        while (length $in < ($length // 0)) {
            sysread $sock, $in, 65536, length $in or return;
        }

        my %is = (key => $key // '', n => $n, nth => $nth,
                  body => substr $in, 0, $length // 0, '');

        my $answer = $answers->{"$is{key} $path"} // $answers->{$path};

        for my $part (@{ $answer // [undef] }) {
            return if !defined $part;

            if (ref $part eq 'SCALAR') {
                sleep $$part;
                next;
            }

            (my $text = ref $part ? $part->() : $part) =~ s/\$(key|body|nth|n)\b/$is{$1}/g;
            syswrite $sock, $text or return;
        }
    }
}

sub from_scgi {
    my ($in) = @_;
    my ($length) = $in =~ /^(\d+):/;
    my %is = split /\0/, substr $in, 1 + length $length, $length;

    return "$is{REQUEST_METHOD} $is{REQUEST_URI} HTTP/1.0\r\n"
           . "Authorization: $is{HTTP_AUTHORIZATION}\r\n"
           . "Content-Length: $is{CONTENT_LENGTH}\r\n\r\n"
           . substr $in, 2 + $length + length $length;
}

# "STATUS", headers, and a body of which the length is told

sub answer {
    my ($status, $body, @headers) = @_;

    return join "\r\n", "HTTP/1.1 $status X",
                        'Content-Length: ' . length $body, @headers, '', $body;
}

END {
    kill 'TERM', $Pid if defined $Pid && $Pid && $$ == $Owner;
}

1;
