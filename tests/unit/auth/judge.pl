#!/usr/bin/perl
# judge.pl - answers questions of compare_signatures and compare_srs with CPAN's Mail::DKIM and Mail::SRS. One command a
# line, words parted by blanks, texts in hex ("-" is none); each is answered with one line.
use strict;
use warnings;

my $now;    # the time of Mail::SRS
BEGIN { *CORE::GLOBAL::time = sub () { $now // CORE::time } }
use Mail::DKIM::ARC::Signer;
use Mail::DKIM::ARC::Verifier;
use Mail::DKIM::PrivateKey;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;
use Mail::SRS;
use Net::DNS;

my %texts;    # the DNS: name => TXT
my %keys;     # PEM => Mail::DKIM::PrivateKey

package Names;
sub new { return bless {}, shift }
sub errorstring { return 'NOERROR' }

sub send {
    my ($self, $name, $type) = @_;
    my $packet = Net::DNS::Packet->new($name, $type);
    my $text = $texts{lc $name};
    if (!defined $text) { $packet->header->rcode('NXDOMAIN'); return $packet }
    my @strings = $text =~ /(.{1,255})/gs;
    $packet->push(answer => Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => \@strings));
    return $packet;
}

package main;
Mail::DKIM::DNS::resolver(Names->new);

sub text { return $_[0] eq '-' ? '' : pack 'H*', $_[0] }
sub word { return length $_[0] ? unpack 'H*', $_[0] : '-' }

sub private_key {
    my ($pem) = @_;
    return $keys{$pem} //= do {
        (my $data = $pem) =~ s/-----[^-]+-----|\s//g;
        Mail::DKIM::PrivateKey->load(Data => $data);
    };
}

sub fed {
    my ($object, $message) = @_;
    $object->PRINT($message);
    $object->CLOSE;
    return $object;
}

sub srs {
    my ($secrets, $length, $separator, $time) = @_;
    $now = $time;
    return Mail::SRS->new(Secret => [map { text($_) } split /,/, $secrets], HashLength => $length, HashMin => 4, Separator => $separator);
}

my %commands = (
    txt => sub { $texts{lc text($_[0])} = text($_[1]); return 'ok' },
    # MESSAGE: the results of its signatures, from the top.
    verify => sub {
        my $judge = fed(Mail::DKIM::Verifier->new, text($_[0]));
        return join "\t", map { $_->result_detail } grep { ref $_ eq 'Mail::DKIM::Signature' } $judge->signatures;
    },
    # MESSAGE KEY METHOD: the field.
    sign => sub {
        my $signer = Mail::DKIM::Signer->new(
            Algorithm => 'rsa-sha256', Method => $_[2], Domain => 'example.net', Selector => 'r', Key => private_key(text($_[1])));
        return word(fed($signer, text($_[0]))->signature->as_string . "\r\n");
    },
    arc => sub {
        my $judge = fed(Mail::DKIM::ARC::Verifier->new, text($_[0]));
        return $judge->result . '|' . ($judge->result_detail // '');
    },
    # MESSAGE KEY AUTHSERV-ID: the three fields.
    seal => sub {
        my $signer = Mail::DKIM::ARC::Signer->new(
            Algorithm => 'rsa-sha256', Chain => 'ar', Domain => 'example.net', SrvId => text($_[2]), Selector => 'r',
            Key => private_key(text($_[1])), Timestamp => time);
        fed($signer, text($_[0]));
        return $signer->result eq 'sealed' ? word(join("\r\n", $signer->as_strings) . "\r\n") : '- ' . ($signer->{details} // '');
    },
    # SECRETS HASH-LENGTH SEPARATOR TIME ADDRESS ALIAS
    forward => sub { return word(srs(@_)->forward(text($_[4]), text($_[5]))) },
    # SECRETS HASH-LENGTH SEPARATOR TIME ADDRESS
    reverse => sub { return word(srs(@_)->reverse(text($_[4]))) },
);

$| = 1;
binmode STDIN;
while (my $line = <STDIN>) {
    my ($verb, @words) = split ' ', $line;
    my $answer = eval { local $SIG{__WARN__} = sub { }; $commands{$verb}->(@words) } // "error $@";
    $answer =~ s/[\r\n]+/ /g;
    print "$answer\n";
}
