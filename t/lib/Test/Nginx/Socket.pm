package Test::Nginx::Socket;

# A small stand-in for CPAN's Test::Nginx::Socket, over Test::Base, so that
# the test files run where only a distribution's packages are to be had:
#
#     prove -It/lib t/                     with the stand-in
#     prove -I/path/to/test-nginx/lib t/   with the real one
#
# A file makes the same tests under both.  What the stand-in does not know it
# refuses, by name; it never skips over it.  Names of tests are the real
# one's, so that two outputs can be compared line by line.

use strict;
use warnings;

use Test::Base ();
use Test::More import => [qw( fail is like pass skip unlike )];

use Fcntl qw( F_GETFL F_SETFL O_NONBLOCK );
use IO::Select ();
use IO::Socket::INET ();
use List::Util qw( shuffle );
use POSIX qw( EAGAIN EINTR );
use Time::HiRes qw( sleep );

use Test::Nginx::Util;
use Test::Nginx::Util qw(
    access_log_data cleanup curl_exchange error_log_data eval_perl expand
    launch_nginx nginx_is_alive note_verbose parse_time prepare_server_root
    reload_nginx running_nginx start_nginx stop_nginx use_http2
    write_user_files
);

our @ISA = ('Test::Base');

our @EXPORT = (@Test::Nginx::Util::EXPORT, qw(
    add_response_body_check is_str plan run_tests
));

BEGIN { *plan = \&Test::More::plan }

# What a block may hold, and how many tests it makes of it.  All are made for
# each request and each repeat_each() anew, except where "once" is said.

my $Sections = <<'_END_';
config                    -    in the server block; absent: nginx runs on
http_config               -    in the http block
main_config               -    before the http block
post_main_config          -    after it
server_name               -    the server's name
log_level                 -    of error.log
error_log_file            -    another error log; not the one that is checked
user_files                -    ">>> name [date]" files in html/, or an array
post_setup_server_root    -    Perl, before nginx is started
init                      -    Perl, after
must_die                  1    nginx does not start [with this exit code];
                               nothing else but the logs is looked at
reload_fails              -    with HUP only: the new configuration is bad
suppress_stderr           -    nginx's, at the start
skip_nginx                N    "N: < 1.2.3[: why]" skips N tests
skip_eval                 N    "N: Perl" skips them if true
request                   -    "METHOD [uri [version]]" and a body; or an array
more_headers              -    or an array, one a request
pipelined_requests        -    array: one connection, N responses
raw_request               -    as it is; or an array of packets
raw_request_middle_delay  -    seconds between packets
timeout                   -    seconds, of silence
abort                     -    a timeout is no failure
shutdown                  -    after the request: how
server_addr_for_client    -    address to connect to
http2                     -    HTTP/2, by curl
curl_options              -    one more argument to it
curl_error                -    it may fail, saying this
wait                      -    seconds, before the logs are looked at
ignore_response           -    no test of the response, nor of access.log
error_code                1    200 unless given; always made
error_code_like           =    in its place
raw_response_headers_like    1
raw_response_headers_unlike  1
response_headers          n    one a header; "!Name" must be absent
response_headers_like     n    only without response_headers; the whole value
response_body             1    text, or a pattern
response_body_json_sort   -    it is JSON: sort the keys
response_body_like        1    only without response_body
response_body_unlike      1    only without both
error_log                 n    one a line: text in a line, or patterns
no_error_log              n
access_log                n
no_access_log             n
grep_error_log            1    what this matches in each line of error.log
grep_error_log_out        =    is this; arrays: one a repetition
shutdown_error_log        n    once, after nginx stopped
no_shutdown_error_log     n    once
no_check_leak             -    of no effect here
ONLY                      -
SKIP                      -
LAST                      -
_END_

# Test::Base's own, and what begins with "x_": a file's own sections, which
# its add_block_preprocessor() turns into others.

my %Known = map { $_ => 1 }
                $Sections =~ /^(\w+)/mg,
                qw( name description seq_num is_filtered blocks_object
                    original_values _section_map _section_order );

my (@BodyChecks, $PrevBlock, $PrevConfig, $Started);

sub add_response_body_check ($) { push @BodyChecks, shift }

sub is_str (@) {
    my ($got, $expected, $name) = @_;

    return like($got, $expected, $name) if ref $expected eq 'Regexp';
    return Test::Base::is($got, $expected, $name);
}

# A test that the plan did not count.

sub extra_fail {
    my ($name) = @_;

    Test::More->builder->no_ending(1);
    fail($name);
}

sub check_sections {
    my ($block) = @_;
    my $where = "$0 " . $block->name;
    my %seen;

    for my $section (sort keys %$block) {
        next if $Known{$section} || $section =~ /^x_/;
        die "$where: section '$section' is not supported"
            . " by the stand-in for Test::Nginx\n";
    }

    # only the last one would count
    for my $section (grep { $seen{$_}++ } @{ $block->_section_order }) {
        die "$where: section '$section' stands there twice\n";
    }
}

sub run_tests () {
    my @blocks = Test::Base::blocks();

    check_sections($_) for @blocks;

    $ENV{TEST_NGINX_SERVER_PORT} //= $Test::Nginx::Util::ServerPort;

    @blocks = shuffle @blocks if !$Test::Nginx::Util::NoShuffle;

    for my $block (@blocks) {
        $_->($block) for @Test::Nginx::Util::BlockPreprocessors;
        check_sections($block);
        $block->set_value(name => "$0 " . $block->name);

        run_block($block);

        $_->($block) for @Test::Nginx::Util::TestCleanupHandlers;
        $PrevBlock = $block;
    }

    cleanup();
}

sub run_block {
    my ($block) = @_;
    my $name = $block->name;
    my $must_die = defined $block->must_die;

    local $Test::Nginx::Util::LogLevel
        = $block->log_level || $Test::Nginx::Util::LogLevel;
    local $Test::Nginx::Util::UseHup
        = $Test::Nginx::Util::UseHup && !$must_die;
    $Test::Nginx::Util::RandPorts = {};

    my $config = expand(scalar $block->config, $name);
    my ($skipped, $why) = to_skip($block);

    if (!defined $config) {
        bail_out("$name - no --- config, and none before it")
            if !defined $PrevConfig || $must_die;

    } elsif (!defined $skipped) {
        $PrevConfig = $config;
        stop_or_reload($block, $config) and goto RUNNING;
        return run_must_die($block) if $must_die;
        start_nginx($block);
    }

RUNNING:

    eval_perl($block, 'init', $block->init) if $block->init;
    $Test::Nginx::Util::ErrLogFilePos = 0;

    for my $i (0 .. repeat_each() - 1) {
        write_user_files($block) if $i;

        SKIP: {
            skip("$name - $why", $skipped) if defined $skipped;
            run_requests($block, $i);
        }
    }
}

# Returns the number of tests to skip, if any, and why.

sub to_skip {
    my ($block) = @_;
    my $name = $block->name;

    if (defined(my $spec = $block->skip_eval)) {
        my ($n, $code) = $spec =~ /^\s*(\d+)\s*:\s*(.*)/s
            or bail_out("$name - bad --- skip_eval: $spec");
        return $n, 'skip_eval' if eval_perl($block, 'skip_eval', $code);
    }

    if (defined(my $spec = $block->skip_nginx)) {
        my ($n, $op, $x, $y, $z, $why)
            = $spec =~ /^\s*(\d+)\s*:\s*([<>]=?)\s*(\d+)\.(\d+)\.(\d+)
                        (?:\s*:\s*(.*))?\s*$/x
            or bail_out("$name - bad --- skip_nginx: $spec");
        my $cmp = $Test::Nginx::Util::NginxVersion
                  <=> Test::Nginx::Util::canon($x, $y, $z);

        if ($op =~ /^</ && $cmp < 0 || $op =~ /^>/ && $cmp > 0
            || $op =~ /=$/ && $cmp == 0)
        {
            return $n, $why || "nginx version $op $x.$y.$z";
        }
    }

    return;
}

# Makes way for the block's configuration; true if nginx took it by a reload.

sub stop_or_reload {
    my ($block, $config) = @_;
    my $first_time = !$Started++;
    my $pid = running_nginx();
    my $reload = $pid && $Test::Nginx::Util::UseHup && !$first_time;

    stop_nginx($pid) if $pid && !$reload;

    # the log of the last block is about to go
    check_shutdown_log() if !$reload;

    prepare_server_root($block, $config, $first_time);
    return 0 if !$reload;

    reload_nginx($block, $pid);
    check_shutdown_log();
    return 1;
}

sub run_must_die {
    my ($block) = @_;
    my $name = $block->name;
    my $expected = $block->must_die;

    $Test::Nginx::Util::ErrLogFilePos = 0;

    for my $i (0 .. repeat_each() - 1) {
        my $status = launch_nginx($block);
        my $code = $status >> 8;

        # 127 and 126 are the shell's, above are signals
        if ($status & 127 || $code > 125) {
            fail("$name - nginx was killed, or not found: status $status");

        } elsif ($expected =~ /^\s*\d+\s*$/) {
            is($expected, $code, "$name - die with the expected exit code");

        } else {
            Test::More::isnt($status, 0, "$name - die as expected");
        }

        check_error_log($block, $i);
        stop_nginx(running_nginx() // next) if $status == 0;
    }
}

# Requests.

# Returns a list of requests, each a list of the packets it is sent in.

sub requests {
    my ($block) = @_;
    my $name = $block->name;

    if (defined(my $raw = $block->raw_request)) {
        return ref $raw eq 'ARRAY' ? $raw : [$raw];
    }

    if (my $pipelined = $block->pipelined_requests) {
        bail_out("$name - pipelined_requests is not an array")
            if ref $pipelined ne 'ARRAY';

        my $last = $#$pipelined;
        return [join '', map {
            build_request($block, $_, $_ == $last ? 'close' : 'keep-alive',
                          expand($pipelined->[$_], $name))
        } 0 .. $last];
    }

    my $request = $block->request;

    if (!ref $request) {
        # comments and blank lines may stand before it
        1 while defined $request && $request =~ s/^\s*#[^\n]+\s+|^\s+//g;
        $request = [$request // ''];
    }

    if (ref $request ne 'ARRAY' || grep { ref } @$request) {
        die "$name: a request in packets is not supported by the stand-in"
            . " for Test::Nginx, use raw_request\n";
    }

    return map { [build_request($block, $_, 'close', $request->[$_])] }
               0 .. $#$request;
}

# The body loses white space at its ends, unless more_headers gives its length
# or makes it chunked.

sub build_request {
    my ($block, $i, $connection, $text) = @_;
    my $name = $block->name;
    my ($more, $chunked) = more_headers($block, $i);
    my ($line, $body) = $text =~ /\A([^\n]*\n?)(.*)\z/s;
    my @words = split ' ', $line;
    my ($method, $uri, $version) = @words;

    bail_out("$name - not a request line: \"$line\"")
        if @words < 1 || @words > 3;

    my $headers = $more;

    $headers = "Connection: $connection\r\n$headers"
        if $more !~ /^Connection/mi;
    $headers = 'Host: ' . server_name() . "\r\n$headers"
        if $more !~ /^Host:/mi;

    if (!$chunked && $body ne '' && $more !~ /^Content-Length:/m) {
        $body =~ s/^\s+|\s+$//g;
        $headers .= 'Content-Length: ' . length($body) . "\r\n";
    }

    $uri //= '/';
    $version //= 'HTTP/1.1';

    return "$method $uri $version\r\n$headers\r\n$body";
}

sub more_headers {
    my ($block, $i) = @_;
    my $lines = $block->more_headers || '';
    my ($text, $chunked) = ('', 0);

    if (ref $lines eq 'ARRAY') {
        $lines = $lines->[$i]
            // bail_out($block->name,
                        " - more_headers has none for request $i");
    }

    for my $line (split /\n+/, $lines) {
        next if $line =~ /^\s*#/;

        my ($name, $value) = split /:\s*/, $line, 2;
        $value //= '';
        $text .= "$name: $value\r\n";
        $chunked = 1
            if lc $name eq 'transfer-encoding' && $value eq 'chunked';
    }

    return $text, $chunked;
}

# The exchange.

# Returns all that nginx answers until it closes the connection, and whether
# it was asked with HEAD.

sub exchange {
    my ($block, $packets) = @_;
    my $request = join '', @$packets;
    my $head = $request =~ /^\s*HEAD\s+/;

    return curl_exchange($block, $request), $head if use_http2($block);

    my $sock = connect_to_nginx($block) or return '', $head;
    my $resp = talk($block, $sock, @$packets);
    close $sock;

    return $resp, $head;
}

sub connect_to_nginx {
    my ($block) = @_;
    my $addr = $block->server_addr_for_client // server_addr();
    my $error;

    for (1 .. 50) {
        my $sock = IO::Socket::INET->new(
            PeerAddr => $addr, PeerPort => server_port_for_client(),
            Proto => 'tcp', Timeout => block_timeout($block),
        );

        if ($sock) {
            fcntl $sock, F_SETFL, fcntl($sock, F_GETFL, 0) | O_NONBLOCK;
            return $sock;
        }

        $error = $!;
        last if !nginx_is_alive();
        sleep 0.1;
    }

    extra_fail($block->name . " - Can't connect to $addr:"
               . server_port_for_client() . ": $error");
    return;
}

sub block_timeout {
    my ($block) = @_;
    return parse_time(scalar $block->timeout) // timeout();
}

sub talk {
    my ($block, $sock, @packets) = @_;
    my $name = $block->name;
    my $reading = IO::Select->new($sock);
    my $writing = IO::Select->new($sock);
    my $resp = '';
    my $unsent = shift @packets;

    local $SIG{PIPE} = 'IGNORE';

    while (1) {
        $! = 0;
        my ($readable, $writable)
            = IO::Select->select($reading, $writing, undef,
                                 block_timeout($block));

        if (!$readable) {
            next if $! == EINTR;
            extra_fail("ERROR: client socket timed out - $name")
                if !defined $block->abort;
            return $resp;
        }

        while (@$readable) {
            my $n = sysread $sock, $resp, 65536, length $resp;

            last if !defined $n && ($! == EAGAIN || $! == EINTR);
            warn "WARNING: $name - HTTP response read failure: $!\n"
                if !defined $n;
            return $resp if !$n;
        }

        while ($writing && @$writable) {
            if ($unsent ne '') {
                my $n = syswrite $sock, $unsent;

                last if !defined $n && ($! == EAGAIN || $! == EINTR);

                if (!defined $n) {
                    warn "$name - write failed: $!\n";
                    return $resp || "write failed: $!";
                }

                substr $unsent, 0, $n, '';
                next;
            }

            if (@packets) {
                $unsent = shift @packets;
                sleep($block->raw_request_middle_delay || 0);
                next;
            }

            undef $writing;

            if (defined(my $how = $block->shutdown)) {
                shutdown $sock, $how eq '' ? 1 : $how;
            }
        }
    }
}

# Responses.

# Splits the first response off what nginx has sent.  Returns
# { code, raw_headers, headers => [[name, value], ...], body }, undef if it is
# malformed (which is a failed test), and what follows it.

sub parse_response {
    my ($name, $raw, $head) = @_;
    my ($raw_headers) = $raw =~ /\A(.*?\r\n)\r\n/s;
    my ($line, $rest) = $raw =~ /\A([^\n]*)\n(.*)\z/s;
    my $code = (split ' ', $line // $raw)[1];
    my @headers;

    undef $code if defined $code && $code !~ /^\d+$/;
    $rest //= '';

    while ($rest =~ s/\A([^\s:]+)[ \t]*: ?([^\n]*(?:\n[ \t][^\n]*)*)\n?//) {
        push @headers, [$1, $2];
        $headers[-1][1] =~ s/\r$//mg;
    }

    $rest =~ s/\A\r?\n//;

    my $res = {
        code => $code, raw_headers => $raw_headers // '',
        headers => \@headers, body => $rest,
    };

    return $res if $code && ($code == 304 || $code == 101);

    if ((header($res, 'Transfer-Encoding') // '') eq 'chunked') {
        my ($body, $left) = dechunk($rest, header_list($res, 'Trailer'));

        if (!defined $body) {
            extra_fail("$name - invalid chunked body: $left");
            return undef, '';
        }

        $res->{body} = $body;
        return $res, $left;
    }

    my $length = header($res, 'Content-Length');
    return $res if !defined $length || $length !~ /^\d+$/;

    if (length $rest < $length && !$head) {
        warn "WARNING: $name - response body truncated: $length expected, "
             . 'but got ' . length($rest) . "\n";
    }

    return $res if length $rest <= $length;

    $res->{body} = substr $rest, 0, $length;
    return $res, substr $rest, $length;
}

# Returns the body and what follows it; or undef and what is wrong.

sub dechunk {
    my ($raw, @trailers) = @_;
    my $body = '';

    while ($raw =~ /\G[ \t]*([0-9A-Fa-f]+)[ \t]*\r\n/gc) {
        my $size = hex $1;
        my $at = pos $raw;

        if ($size == 0) {
            for (@trailers) {
                return undef, "trailer $_ expected"
                    if $raw !~ /\G\Q$_\E: [^\n]*\r\n/gc;
            }

            return undef, 'CRLF expected after the last chunk'
                if $raw !~ /\G\r\n/gc;
            return $body, substr $raw, pos $raw;
        }

        return undef, 'a chunk is not whole' if length $raw < $at + $size;
        return undef, 'CRLF expected after a chunk'
            if substr($raw, $at + $size, 2) ne "\r\n";

        $body .= substr $raw, $at, $size;
        pos($raw) = $at + $size + 2;
    }

    return undef, (pos $raw // 0) == length $raw ? 'no last chunk'
                                                 : 'chunk size expected';
}

# "_" in the name that is asked for means "-", as in the real one.

sub header_list {
    my ($res, $name) = @_;

    $name =~ tr/_/-/;
    return map { $_->[1] } grep { lc $_->[0] eq lc $name }
                                @{ $res->{headers} };
}

sub header {
    my @values = $_[0] ? header_list(@_) : ();
    return @values ? join ', ', @values : undef;
}

# Checks.

sub run_requests {
    my ($block, $repetition) = @_;
    my $name = $block->name;
    my $pipelined = $block->pipelined_requests;
    my @requests = requests($block);
    my $total = $pipelined ? @$pipelined : @requests;
    my $n = 0;

    for my $request (@requests) {
        my ($raw, $head) = exchange($block, $request);

        for (1 .. ($pipelined ? $total : 1)) {
            my $left;

            note_verbose("!!! resp: [$raw]");

            if (!defined $block->ignore_response) {
                (my $res, $left) = parse_response($name, $raw, $head);

                # values of many responses stand in arrays
                my $get = sub {
                    my ($section) = @_;
                    my $value = $block->$section;

                    return $value->[$n] if ref $value eq 'ARRAY';
                    bail_out("$name - $section: many responses, an array"
                             . ' is needed')
                        if $total > 1 && defined $value;
                    return $value;
                };

                check_head($name, $res, $get);
                check_body($block, $res, $get, $n, $repetition);
            }

            if ($pipelined) {
                $raw = $left // '';

            } elsif (defined $left && $left ne '') {
                warn "WARNING: $name - extra bytes after the response:"
                     . " \"$left\"\n";
            }

            sleep $block->wait if $block->wait;
            check_error_log($block, $repetition);
            check_access_log($block, $repetition)
                if !defined $block->ignore_response;
            $n++;
        }
    }
}

sub check_head {
    my ($name, $res, $get) = @_;
    my $code = $res && $res->{code} || '';
    my $raw = $res ? $res->{raw_headers} : undef;

    if (defined(my $like = $get->('error_code_like'))) {
        like($code, qr/$like/sm, "$name - status code ok");

    } else {
        Test::Base::is($code, $get->('error_code') // 200,
                       "$name - status code ok");
    }

    if (defined(my $like = $get->('raw_response_headers_like'))) {
        like($raw, qr/$like/s, "$name - raw resp headers like");
    }

    if (defined(my $unlike = $get->('raw_response_headers_unlike'))) {
        unlike($raw, qr/$unlike/s, "$name - raw resp headers unlike");
    }

    if (defined(my $lines = $get->('response_headers'))) {
        my %headers = parse_headers($lines);

        for my $key (sort keys %headers) {
            my $value = $headers{$key};

            if (defined $value) {
                is(header($res, $key) // '', expand_port($value),
                   "$name - header $key ok");

            } else {
                unlike($raw, qr/^\s*\Q$key\E\s*:/ms,
                       "$name - header $key not present in the raw headers");
            }
        }

    } elsif (defined($lines = $get->('response_headers_like'))) {
        my %headers = parse_headers($lines);

        for my $key (sort keys %headers) {
            my $value = $headers{$key} // '';
            like(header($res, $key) // '', qr/^$value$/,
                 "$name - header $key like ok");
        }
    }
}

# "!Name" has no value.

sub parse_headers {
    my ($lines) = @_;
    my %headers;

    for (split /\n/, $lines) {
        s/^\s+|\s+$//g;
        my ($key, $value) = s/^!\s*// ? $_ : split /\s*:\s*/, $_, 2;
        $headers{ $key // '' } = $value;
    }

    return %headers;
}

sub expand_port {
    my ($text) = @_;

    return $text if ref $text || !defined $text;

    my %port = (ServerPort => server_port(),
                ServerPortForClient => server_port_for_client());

    $text =~ s/\$(ServerPortForClient|ServerPort)\b/$port{$1}/g;
    return $text;
}

sub check_body {
    my ($block, $res, $get, $n, $repetition) = @_;
    my $name = $block->name;
    my $body = $res ? $res->{body} : undef;

    if (defined $block->response_body) {
        my $got = defined $block->response_body_json_sort ? sort_json($body)
                                                          : $body;
        my $expected = expand(expand_port($get->('response_body')), $name);
        my $is = ref $expected ? 'like' : 'response is expected';

        is_str($got, $expected, "$name - response_body - $is"
               . " (repeated req $repetition, req $n)");

    } else {
        my %compare = (like => \&like, unlike => \&unlike);

        for my $type (qw( like unlike )) {
            my $section = "response_body_$type";
            my $pattern = expand_port($get->($section)) // next;
            my $summary = join ' ', split ' ', $body // '';

            $compare{$type}->($body, qr/$pattern/s,
                "$name - $section - response is expected ($summary)");
            last;
        }
    }

    $_->($block, $body, $n, $repetition, 0) for @BodyChecks;
}

sub sort_json {
    my ($text) = @_;
    require JSON::PP;
    my $json = JSON::PP->new->canonical(1)->loose(1);
    my $value = eval { $json->decode($text) };

    return $@ ? $text : $json->encode($value) . "\n";
}

# Logs.

sub check_error_log {
    my ($block, $repetition) = @_;
    my $name = $block->name;
    my $lines = error_log_data();
    my $req = "(req $repetition)";

    check_grep($block, $lines, $repetition);
    check_lines($block, 'error_log', $lines, 'error.log', " $req");
    check_lines($block, 'no_error_log', $lines, 'error.log', " $req");

    # what nobody should overlook, unless the block speaks of it
    my $spoken = join ' ', map { patterns(scalar $block->$_) }
                               qw( error_log no_error_log );

    for my $level (qw( alert crit emerg )) {
        next if $spoken =~ /\[\Q$level\E/ || $spoken =~ /\\\[$level/;
        warn "WARNING: $name - $_" for grep { /\[$level\]/ } @$lines;
    }

    extra_fail("$name - $_")
        for grep { /\bAssertion .*?failed\b/ } @$lines;
}

sub check_access_log {
    my ($block, $repetition) = @_;

    for my $section (qw( access_log no_access_log )) {
        check_lines($block, $section, access_log_data(), 'access.log',
                    " (req $repetition)")
            if defined $block->$section;
    }
}

sub check_shutdown_log {
    my $block = $PrevBlock // return;
    my $name = $block->name;
    my @sections = grep { defined $block->$_ }
                        qw( shutdown_error_log no_shutdown_error_log );

    return if !@sections;

    # nginx has not been stopped
    my $skip = $Test::Nginx::Util::UseHup || $ENV{TEST_NGINX_NO_CLEAN};
    my $lines = $skip ? [] : error_log_data();

    for my $section (@sections) {
        if ($skip) {
            SKIP: {
                skip("$name - $section - tests skipped due to dry_run",
                     scalar grep { defined } patterns($block->$section));
            }

        } else {
            check_lines($block, $section, $lines, 'error.log', '');
        }
    }
}

sub check_grep {
    my ($block, $lines, $repetition) = @_;
    my $name = $block->name;
    my $pattern = $block->grep_error_log;
    my $expected = $block->grep_error_log_out;

    bail_out("$name - grep_error_log and grep_error_log_out need each other")
        if defined $pattern != defined $expected;

    $pattern = $pattern->[$repetition] if ref $pattern eq 'ARRAY';
    return if !defined $pattern;

    $expected = $expected->[$repetition] if ref $expected eq 'ARRAY';
    $pattern = qr/\Q$pattern\E/ if !ref $pattern;

    my $got = join '', map { /($pattern)/ ? "$1\n" : () } @$lines;

    is_str($got, expand($expected, $name),
           "$name - grep_error_log_out (req $repetition)");
}

# A text is a list of lines, each of which is looked for as it is.

sub patterns {
    my ($spec) = @_;

    return ref $spec eq 'ARRAY' ? @$spec
           : ref $spec          ? $spec
           :                      split /\n+/, $spec // '';
}

sub check_lines {
    my ($block, $section, $lines, $log, $req) = @_;
    my $name = $block->name;
    my $must_not = $section =~ /^no_/;

    for my $pattern (grep { defined } patterns(scalar $block->$section)) {
        my @found = grep { ref $pattern ? /$pattern/ : /\Q$pattern\E/ } @$lines;

        chomp @found;

        if ($must_not && @found) {
            fail("$name - pattern \"$pattern\" should not match any line in"
                 . " $log but matches line \"$found[0]\"$req");

        } elsif ($must_not) {
            pass("$name - pattern \"$pattern\" does not match a line in"
                 . " $log$req");

        } elsif (@found) {
            pass("$name - pattern \"$pattern\" matches a line in $log$req");

        } else {
            fail("$name - pattern \"$pattern\" should match a line in $log"
                 . $req);
        }
    }
}

$Test::Nginx::Util::AtEnd = \&check_shutdown_log;

1;
