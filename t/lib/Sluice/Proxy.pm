package Sluice::Proxy;

# Forward proxies, good ones and hostile ones, each on a port of its own.
#
#   Sluice::Proxy::start(eu1 => 'http user=joe:p%40ss',
#                        eu2 => ['socks5 close', 'socks5'],
#                        six => '[::1] http',
#                        odd => { http => ["ICY 200 OK\r\n\r\n"] });
#
# What a proxy does is "http" or "socks5", and behind it, if it does not do
# well, a word of %Early, %Http or %Socks, or the status of an answer to
# CONNECT.  A list has one for each connection, and the last one stays.  A hash
# has the answer itself, once the proxy was asked where to go:
#
#   'text'    is sent
#   \0.05     so many seconds of nothing
#   sub {}    is given the connection, which ends with it
#   undef     the connection is closed; else it is the origin's from here on
#
# Names that end with ".test" are 127.0.0.1.  To be started before run_tests();
# their ports are $TEST_NGINX_SLUICE_PROXY_<NAME>.  Each block begins with all
# of them as they were started, or as its section x_proxy says: "NAME http 403,
# http", a line for each that is to be otherwise.  Within a block, on
# $TEST_NGINX_SLUICE_PROXY_CONTROL,
#
#   GET /NAME/http+403/http   changes what one does from its next connection on
#   GET /NAME/cut             ends the connections that it has
#   GET /asked                is what they were asked
#
# which is a line for each connection: "NAME CONNECT HOST:PORT USER", "NAME
# SOCKS5 HOST:PORT USER", or "NAME - - -" for one that was asked nothing; "early"
# stands behind it if more had come than the request.  The section x_proxies has
# these lines: only as many words are compared as it has, and "~PATTERN" is one
# that the word is like.

use strict;
use warnings;

use File::Temp ();
use IO::Select ();
use IO::Socket::IP ();
use MIME::Base64 ();
use POSIX ();
use Socket qw( AF_INET AF_INET6 IPPROTO_TCP SOL_SOCKET SO_LINGER TCP_NODELAY );
use Test::More ();
use Time::HiRes qw( sleep time );

my ($Pid, $Owner, $Log, %Proxies);

# before it has read anything; with "refuse" nobody listens

my %Early = (
    refuse => [undef],
    hole   => [\&hole],
    close  => [undef],
    reset  => [\&reset],
    ssh    => ["SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", \&hole],
    tls    => ["\x15\x03\x01\x00\x02\x02\x46", undef],
);

# after it was asked

my %Late = (
    mute  => [\&hole],
    drop  => [undef],
    abort => [\&reset],
);

my $Ok = "HTTP/1.1 200 Connection established\r\n\r\n";
my $Glued = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nglued\n";

my %Http = (
    %Early, %Late,
    'ok'        => [$Ok],
    'slow'      => [\0.3, $Ok],
    'bytes'     => [bytes("HTTP/1.1 200 OK\r\nVia: 1.1 proxy\r\n\r\n")],
    'half'      => ["HTTP/1.1 200 Connec", \0.02, undef],
    'glued'     => ["$Ok$Glued", \&hole],
    'via'       => ["HTTP/1.1 200 OK\r\nVia: 1.1 proxy\r\nX: " . 'x' x 1000 . "\r\n\r\n"],
    'interim'   => ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\nX: y\r\n\r\n$Ok"],
    '2xx'       => ["HTTP/1.1 299\r\nDate: now\r\n\r\n"],
    '1.0'       => ["HTTP/1.0 200 OK\r\n\r\n"],
    'lf'        => ["HTTP/1.1 200 OK\nVia: 1.1 proxy\n\n"],
    'length'    => ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    'chunked'   => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    'oversized' => ["HTTP/1.1 200 OK\r\n" . "X-Header: 01234\r\n" x 1000 . "\r\n"],
    'endless'   => ["HTTP/1.1 200 OK\r\n", ('X: ' . 'x' x 4000) x 1000],
);

my %Socks = (
    %Early, %Late,
    'ok'        => [reply(0)],
    'slow'      => [\0.3, reply(0)],
    'bytes'     => [bytes(reply(0))],
    'half'      => [substr(reply(0), 0, 3), \0.02, undef],
    'glued'     => [reply(0) . $Glued, \&hole],
    'name'      => ["\5\0\0\3\x0bexample.org\x01\xbb"],
    'long-name' => ["\5\0\0\3\xff" . 'x' x 255 . "\x01\xbb"],
    'ipv6'      => ["\5\0\0\4" . "\x20\x01" . "\0" x 14 . "\x01\xbb"],
    'type'      => ["\5\0\0\2\0\0\0\0\0\0", undef],
    'version'   => ["\4\x5a\0\0\0\0\0\0\0\0", undef],
    (map { $_ => [reply($_), undef] } 1 .. 9),
);

# what a proxy for SOCKS5 says to the methods that it is offered

my %Method = ('no-method' => "\5\xff", 'gssapi' => "\5\1", 'socks4' => "\4\0");

sub reply { return pack 'C*', 5, $_[0], 0, 1, (0) x 6 }
sub bytes { return map { ($_, \0.002) } split //, $_[0] }

# The connection's end in its different ways.

sub hole { 1 while sysread $_[0], my $data, 65536 }
sub reset { setsockopt $_[0], SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 }

sub has_ipv6 {
    return IO::Socket::IP->new(LocalHost => '::1', Listen => 1) ? 1 : 0;
}

sub start {
    my (%behaviours) = @_;
    my $control = listener('127.0.0.1', 0, 8);

    for my $name (sort keys %behaviours) {
        my $is = $behaviours{$name};
        my @is = ref $is eq 'ARRAY' ? @$is : $is;
        my $host = !ref $is[0] && $is[0] =~ s/^\[(\S+)\] *// ? $1 : '127.0.0.1';

        # held without listening: the port is nobody else's while it is closed
        my $held = listener($host, 0);

        $Proxies{$name} = { host => $host, held => $held,
                            port => $held->sockport,
                            started => [map { parse($_) } @is] };
        $ENV{"TEST_NGINX_SLUICE_PROXY_\U$name"} = $held->sockport;
    }

    die "no proxy may be named \"control\"" if $Proxies{control};

    $ENV{TEST_NGINX_SLUICE_PROXY_CONTROL} = $control->sockport;
    $Log = File::Temp->new(TEMPLATE => 'sluice-XXXXXX', TMPDIR => 1);
    begin($_) for values %Proxies;

    $Owner = $$;
    $Pid = fork // die "cannot fork: $!";

    run($control) if !$Pid;

    for my $proxy (values %Proxies) {
        close $_ for grep { defined } delete @$proxy{qw( held listener )};
    }

    return if !$INC{'Test/Nginx/Util.pm'};

    Test::Nginx::Util::add_block_preprocessor(\&prepare);
    Test::Nginx::Util::add_test_cleanup_handler(\&check);
}

sub listener {
    my ($host, $port, $backlog) = @_;

    return IO::Socket::IP->new(LocalHost => $host, LocalPort => $port,
                               Proto => 'tcp', ReuseAddr => 1,
                               $backlog ? (Listen => $backlog) : ())
        // die "cannot listen on $host: $@";
}

sub parse {
    my ($is) = @_;

    if (ref $is) {
        my ($protocol, $parts) = %$is;
        return { protocol => $protocol, parts => $parts };
    }

    my ($protocol, @words) = split ' ', $is;
    my $known = { http => \%Http, socks5 => \%Socks }->{$protocol}
        or die "unknown proxy \"$is\"";
    my %is = (protocol => $protocol, parts => $known->{ok});

    for (@words) {
        if (/^user=(.*?):(.*)$/) {
            @is{qw( user password )} = map { unescape($_) } $1, $2;

        } elsif ($protocol eq 'http' && /^\d{3}$/) {
            $is{parts} = ["HTTP/1.1 $_ Said\r\nProxy-Authenticate: Basic realm=x"
                          . "\r\nContent-Length: 3\r\n\r\nno\n", undef];

        } elsif ($protocol eq 'socks5' && $Method{$_}) {
            $is{method} = $Method{$_};

        } else {
            $is{parts} = $known->{$_} // die "unknown proxy \"$is\"";
            $is{early} = $Early{$_};
            $is{refuse} = $_ eq 'refuse';
        }
    }

    return \%is;
}

sub unescape { return $_[0] =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

# The process of all proxies, which has one for each connection.

sub run {
    my ($control) = @_;
    my %child;

    # who runs the tests waits for the end of their output, and this is none
    open $_, '>', '/dev/null' for \*STDOUT, \*STDERR;
    $SIG{$_} = 'DEFAULT' for qw( INT HUP CHLD );
    $SIG{TERM} = sub { kill 'TERM', keys %child; POSIX::_exit(0) };

    while (getppid == $Owner) {
        my %by = map { $_->{listener} ? ($_->{listener} => $_) : () }
                     values %Proxies;
        my $ready = IO::Select->new($control,
                                    grep { $_ } map { $_->{listener} }
                                                    values %Proxies);

        for my $listener ($ready->can_read(1)) {
            if ($listener == $control) {
                serve_control($control->accept || next, \%child);
                last;
            }

            my $proxy = $by{$listener};
            my $sock = $listener->accept or next;
            my $is = $proxy->{is}[0];

            next_behaviour($proxy);
            my $pid = fork;

            if (defined $pid && !$pid) {
                $SIG{TERM} = 'DEFAULT';
                close $_ for $control, map { $_->{listener} // () }
                                           values %Proxies;
                alarm 20;
                serve($sock, (grep { $Proxies{$_} == $proxy } keys %Proxies),
                      $is);
                close $sock;
                POSIX::_exit(0);
            }

            $child{$pid} = $proxy if defined $pid;
        }

        while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) {
            delete $child{$pid};
        }
    }

    $SIG{TERM}->();
}

sub begin {
    my ($proxy, @is) = @_;

    $proxy->{is} = [@is ? @is : @{ $proxy->{started} }];
    open_or_close($proxy);
}

sub next_behaviour {
    my ($proxy) = @_;

    shift @{ $proxy->{is} } if @{ $proxy->{is} } > 1;
    open_or_close($proxy);
}

sub open_or_close {
    my ($proxy) = @_;

    if ($proxy->{is}[0]{refuse}) {
        close delete $proxy->{listener} if $proxy->{listener};

    } else {
        $proxy->{listener} //= listener(@$proxy{qw( host port )}, 512);
    }
}

sub serve_control {
    my ($sock, $child) = @_;
    my $in = '';

    until ($in =~ /\r\n\r\n/) {
        sysread $sock, $in, 65536, length $in or return;
    }

    my ($name, @is) = split m{/}, $in =~ m{^GET /(\S*)} ? $1 : '';
    my $cut = !defined $name || "@is" eq 'cut';
    my $said = '';

    if (!defined $name) {
        truncate $Log->filename, 0;
        begin($_) for values %Proxies;

    } elsif ($name eq 'asked') {
        $said = join '', asked();

    } elsif (!$cut) {
        begin($Proxies{$name} // return,
              map { parse(tr/+/ /r) } map { unescape($_) } @is);
    }

    if ($cut) {
        kill 'TERM', grep { !defined $name || $child->{$_} == $Proxies{$name} }
                          keys %$child;
    }

    send_all($sock, "HTTP/1.0 200 OK\r\nContent-Length: " . length($said)
                    . "\r\n\r\n$said");
}

# To the process of the proxies, from a test: "NAME/http+403".

sub control {
    my ($path) = @_;
    my $sock = IO::Socket::IP->new(
        PeerHost => '127.0.0.1', Proto => 'tcp',
        PeerPort => $ENV{TEST_NGINX_SLUICE_PROXY_CONTROL},
    ) or die "no proxies: $@";

    send_all($sock, "GET /$path HTTP/1.0\r\n\r\n");
    my $answer = do { local $/; <$sock> } // '';
    die "the proxies refuse \"$path\"" if $answer !~ s/.*?\r\n\r\n//s;
    return $answer;
}

sub prepare {
    my ($block) = @_;

    control('');

    for (grep { /\S/ } split /\n/, $block->x_proxy // '') {
        my ($name, $is) = split ' ', $_, 2;
        control("$name/" . join '/', map { tr/ /+/r } split /, */, $is);
    }
}

sub asked {
    open my $in, '<', $Log->filename or die "no log of proxies: $!";
    return <$in>;
}

# One connection.

sub serve {
    my ($sock, $name, $is) = @_;
    my %asked = (name => $name, what => '-', to => '-', user => '-');

    setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;
    $SIG{PIPE} = 'IGNORE';

    my $parts = $is->{early} ? $is->{parts}
                : $is->{protocol} eq 'http' ? ask_http($sock, $is, \%asked)
                :                             ask_socks($sock, $is, \%asked);

    # nobody may know of an answer that is not logged
    note(\%asked);

    my $origin;

    if ($parts && !grep { !defined || ref eq 'CODE' } @$parts) {
        $origin = origin($asked{to})
            or $parts = [$is->{protocol} eq 'http'
                         ? "HTTP/1.1 502 Said\r\n\r\n" : reply(5), undef];
    }

    for my $part (@{ $parts // [undef] }) {
        return if !defined $part;
        return $part->($sock) if ref $part eq 'CODE';

        if (ref $part) {
            sleep $$part;

        } else {
            send_all($sock, $part) or return;
        }
    }

    tunnel($sock, $origin);
}

sub note {
    my ($asked) = @_;
    my ($name, @words) = @$asked{qw( name what to user )};

    push @words, 'early' if $asked->{early};
    s/([^\x21-\x7e])/sprintf '\\x%02x', ord $1/ge for @words;

    open my $log, '>>', $Log->filename or return;
    syswrite $log, join(' ', $name, @words) . "\n";
}

sub origin {
    my ($host, $port) = $_[0] =~ /^\[?(.*?)\]?:(\d+)$/ or return;

    return IO::Socket::IP->new(PeerHost => $host =~ /\.test$/ ? '127.0.0.1' : $host,
                               PeerPort => $port, Proto => 'tcp',
                               Timeout => 5);
}

# What it is asked with CONNECT; returns the parts of its answer.

sub ask_http {
    my ($sock, $is, $asked) = @_;
    my $in = '';

    until ($in =~ /\r\n\r\n/) {
        sysread $sock, $in, 65536, length $in or return;
    }

    my ($line) = $in =~ /^([^\r\n]*)/;
    my ($host) = $in =~ /^Host: *(\S*)\r$/mi;
    my $pair = $in =~ /^Proxy-Authorization: *Basic (\S+)\r$/mi
               ? MIME::Base64::decode($1) : '';

    @$asked{qw( what to )} = ('BAD', $line);
    $asked->{early} = $in =~ /\r\n\r\n./s;

    $line =~ m{^CONNECT (\S+:\d+) HTTP/1\.[01]$}
        && ($host // '') eq $1
        or return ["HTTP/1.1 400 Said\r\n\r\n", undef];

    @$asked{qw( what to )} = ('CONNECT', $1);
    $asked->{user} = $1 if $pair =~ /^([^:]+):/;

    return parse('http 407')->{parts}
        if defined $is->{user} && $pair ne "$is->{user}:$is->{password}";
    return $is->{parts};
}

sub ask_socks {
    my ($sock, $is, $asked) = @_;
    my $in = '';

    # so many bytes, and no more than has come is taken
    my $take = sub {
        my ($n) = @_;

        while (length $in < $n) {
            sysread $sock, $in, 65536, length $in or return;
        }

        return unpack 'C*', substr $in, 0, $n, '';
    };

    my ($version, $n) = $take->(2) or return;
    my @methods = $take->($n);
    my $method = defined $is->{user} ? 2 : 0;

    $asked->{what} = $version == 5 ? 'SOCKS5' : 'BAD';

    return [$is->{method}, \0.02, undef] if $is->{method};
    return ["\5\xff", undef] if !grep { $_ == $method } @methods;

    $asked->{early} = 1 if length $in;
    send_all($sock, pack 'C*', 5, $method);

    if ($method == 2) {
        my (undef, $length) = $take->(2) or return;
        my $user = pack 'C*', $take->($length);
        my ($also) = $take->(1) or return;
        my $password = pack 'C*', $take->($also);

        $asked->{user} = $user;
        return ["\1\1", undef] if "$user:$password" ne "$is->{user}:$is->{password}";

        $asked->{early} = 1 if length $in;
        send_all($sock, "\1\0");
    }

    my (undef, $command, undef, $type) = $take->(4) or return;
    my $length = { 1 => 4, 4 => 16 }->{$type} // ($take->(1))[0];
    my $address = pack 'C*', $take->($length);
    my ($port) = unpack 'n', pack 'C*', $take->(2) or return;

    $address = Socket::inet_ntop(AF_INET, $address) if $type == 1;
    $address = '[' . Socket::inet_ntop(AF_INET6, $address) . ']' if $type == 4;

    $asked->{to} = "$address:$port";
    $asked->{early} = 1 if length $in;

    return $command == 1 ? $is->{parts} : [reply(7), undef];
}

sub send_all {
    my ($sock, $text) = @_;

    while (length $text) {
        my $n = syswrite $sock, $text or return 0;
        substr $text, 0, $n, '';
    }

    return 1;
}

sub tunnel {
    my ($sock, $origin) = @_;
    my %other = ($sock => $origin, $origin => $sock);
    my $ready = IO::Select->new($sock, $origin);

    while ($ready->count) {
        for my $from ($ready->can_read) {
            if (sysread $from, my $data, 65536) {
                send_all($other{$from}, $data) or return;

            } else {
                $ready->remove($from);
                shutdown $other{$from}, 1;
            }
        }
    }
}

# A line is written before the answer, but not before a test is over that has
# one by another way.

sub check {
    my ($block) = @_;

    return if !defined $block->x_proxies;

    my @expected = map { [split] } grep { /\S/ } split /\n/, $block->x_proxies;
    my $end = time + 2;
    my @asked;

    until ((@asked = asked()) >= @expected || time > $end) {
        sleep 0.02;
    }

    my $got = join '', map {
        my @is = split ' ', $asked[$_];
        my @words = @{ $expected[$_] // [@is] };

        join(' ', map { my $is = $is[$_] // '';
                        $words[$_] =~ /^~(.*)/ && $is =~ /$1/ ? $words[$_] : $is
                      } 0 .. $#words) . "\n";
    } 0 .. $#asked;

    Test::More::is($got, join('', map { "@$_\n" } @expected),
                   $block->name . ' - x_proxies');
}

END {
    kill 'TERM', $Pid if defined $Pid && $Pid && $$ == $Owner;
}

1;
