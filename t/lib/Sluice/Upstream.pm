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
# knows HTTP, SCGI, uwsgi and FastCGI, told by the request's first byte; in the
# last one each text is an answer.

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
        my $text;

        until (defined ($text = as_http($in))) {
            sysread $sock, $in, 65536, length $in or return;
        }

        my $fastcgi = $in =~ /^\x01/;
        $in = $text;

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
            $text = fastcgi(6, $text) . fastcgi(3, "\0" x 8) if $fastcgi;
            syswrite $sock, $text or return;
        }
    }
}

# A request as HTTP, once its head has come.

sub as_http {
    my ($in) = @_;

    return from_scgi($in) if $in =~ /^\d/;
    return from_uwsgi($in) if $in =~ /^\x00/;
    return from_fastcgi($in) if $in =~ /^\x01/;
    return $in =~ /\r\n\r\n/ ? $in : undef;
}

sub from_scgi {
    my ($in) = @_;
    my ($length) = $in =~ /^(\d+):/ or return;
    my $begin = 1 + length $length;

    return if length $in <= $begin + $length;
    return from_params(substr($in, $begin + $length + 1),
                       split /\0/, substr $in, $begin, $length);
}

sub from_uwsgi {
    my ($in) = @_;

    return if length $in < 4;

    my $length = unpack 'xv', $in;

    return if length $in < 4 + $length;
    return from_params(substr($in, 4 + $length),
                       unpack '(v/a)*', substr $in, 4, $length);
}

sub from_fastcgi {
    my ($in) = @_;
    my ($params, $body) = ('', '');

    while (length $in >= 8) {
        my ($type, $length, $padding) = unpack 'xCx2nC', $in;

        return if length $in < 8 + $length + $padding;

        my $content = substr $in, 8, $length;
        substr $in, 0, 8 + $length + $padding, '';

        $params .= $content if $type == 4;
        $body .= $content if $type == 5;

        next if $type != 5 || $length;

        my @param;

        while (length $params) {
            my @length = map {
                my $long = ord $params > 127;
                unpack $long ? 'N' : 'C',
                       substr $params, 0, $long ? 4 : 1, '';
            } 1 .. 2;

            push @param, map { substr $params, 0, $_ & 0x7fffffff, '' } @length;
        }

        return from_params($body, @param);
    }

    return;
}

sub from_params {
    my ($body, %is) = @_;

    return "$is{REQUEST_METHOD} $is{REQUEST_URI} HTTP/1.0\r\n"
           . "Authorization: $is{HTTP_AUTHORIZATION}\r\n"
           . "Content-Length: $is{CONTENT_LENGTH}\r\n\r\n$body";
}

sub fastcgi {
    my ($type, $content) = @_;

    return pack('CCnnx2', 1, $type, 1, length $content) . $content;
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
