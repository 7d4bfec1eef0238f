using FlashSale.Admission;

namespace FlashSale.UnitTests.Admission;

public sealed class BlockedSubjectTests
{
    [Theory]
    [InlineData("user", "u-1", "u-1")]
    [InlineData("user", "auth0|5f7c%2F+/=~", "auth0|5f7c%2F+/=~")]
    [InlineData("client", "https://shop.example/app", "https://shop.example/app")]
    [InlineData("ip", "203.0.113.7", "203.0.113.7")]
    [InlineData("ip", "2001:DB8:0:0::0001", "2001:db8::1")]
    [InlineData("ip", "::ffff:203.0.113.7", "203.0.113.7")]
    [InlineData("ip", "::FFFF:cb00:7107", "203.0.113.7")]
    [InlineData("cidr", "203.0.113.0/24", "203.0.113.0/24")]
    [InlineData("cidr", "10.0.0.0/8", "10.0.0.0/8")]
    [InlineData("cidr", "203.0.113.7/32", "203.0.113.7/32")]
    [InlineData("cidr", "2001:DB8::/32", "2001:db8::/32")]
    [InlineData("cidr", "2001:db8::1/128", "2001:db8::1/128")]
    [InlineData("cidr", "2000::/19", "2000::/19")]
    [InlineData("cidr", "::ffff:203.0.113.0/120", "203.0.113.0/24")]
    [InlineData("cidr", "::ffff:10.0.0.0/104", "10.0.0.0/8")]
    public void A_value_has_one_spelling(string kind, string value, string normal)
    {
        var subject = Read(kind, value, out _);
        Assert.Equal(normal, subject?.Value);
        Assert.Equal(subject, Read(kind, normal, out _));
    }

    [Theory]
    [InlineData("user", "", "1 to 255")]
    [InlineData("user", "a b", "1 to 255")]
    [InlineData("user", "ü", "1 to 255")]
    [InlineData("client", "a b", "visible ASCII")]
    [InlineData("client", "a%2Fb", "without %")]
    [InlineData("ip", "1", "dotted decimal")]
    [InlineData("ip", "1.2.3", "dotted decimal")]
    [InlineData("ip", "010.0.0.1", "dotted decimal")]
    [InlineData("ip", "0x7f.0.0.1", "dotted decimal")]
    [InlineData("ip", " 1.2.3.4", "dotted decimal")]
    [InlineData("ip", "1.2.3.4:80", "dotted decimal")]
    [InlineData("ip", "[::1]", "without zone or port")]
    [InlineData("ip", "[::1]:80", "without zone or port")]
    [InlineData("ip", "fe80::1%eth0", "without zone or port")]
    [InlineData("ip", "::1/128", "without zone or port")]
    [InlineData("ip", "10.0.0.0/8", "dotted decimal")]
    [InlineData("cidr", "203.0.113.7", "a network such as")]
    [InlineData("cidr", "203.0.113.0/", "a network such as")]
    [InlineData("cidr", "203.0.113.0/024", "a network such as")]
    [InlineData("cidr", "203.0.113.0/+24", "a network such as")]
    [InlineData("cidr", "203.0.113/24", "a network such as")]
    [InlineData("cidr", "203.0.113.0/24/1", "a network such as")]
    [InlineData("cidr", "203.0.113.7/24", "host bits; this address lies in 203.0.113.0/24")]
    [InlineData("cidr", "2001:db8::1/64", "host bits; this address lies in 2001:db8::/64")]
    [InlineData("cidr", "::ffff:203.0.113.7/120", "host bits; this address lies in 203.0.113.0/24")]
    [InlineData("cidr", "0.0.0.0/0", "/8 to /32")]
    [InlineData("cidr", "10.0.0.0/7", "/8 to /32")]
    [InlineData("cidr", "203.0.113.0/33", "/8 to /32")]
    [InlineData("cidr", "::/0", "/19 to /128")]
    [InlineData("cidr", "2000::/18", "/19 to /128")]
    [InlineData("cidr", "2000::/129", "/19 to /128")]
    [InlineData("cidr", "::ffff:0:0/96", "/104 to /128")]
    public void What_is_no_value_is_told_what_it_must_be(string kind, string value, string rule)
    {
        Assert.Null(Read(kind, value, out var told));
        Assert.Contains(rule, told);
    }

    [Theory]
    [InlineData("User")]
    [InlineData("0")]
    [InlineData("")]
    public void Other_kinds_are_none(string kind) => Assert.False(BlockedSubject.TryReadKind(kind, out _));

    [Fact]
    public void A_change_is_decoded_as_it_was_encoded_and_nothing_else_is_one()
    {
        foreach (var (kind, value) in (ReadOnlySpan<(string, string)>)[("user", "u"), ("client", "c"), ("ip", "1.2.3.4"), ("ip", "2001:db8::1"), ("cidr", "10.0.0.0/8"), ("cidr", "2001:db8::/32")])
        {
            foreach (var end in (ReadOnlySpan<long>)[0, 1_700_000_000_000, BlockChange.NoEnd])
            {
                var change = new BlockChange(Read(kind, value, out _)!.Key, end);
                var bytes = change.Encode();
                Assert.Equal(change, BlockChange.Decode(bytes));
                Assert.Throws<FormatException>(() => BlockChange.Decode(bytes.AsSpan(1)));
                Assert.Throws<FormatException>(() => BlockChange.Decode([2, .. bytes[1..]]));
                Assert.Throws<FormatException>(() => BlockChange.Decode([1, 0, .. bytes[2..]]));
                Assert.Throws<FormatException>(() => BlockChange.Decode([1, 7, .. bytes[2..]]));
                Assert.Throws<FormatException>(() => BlockChange.Decode([1, 5, 33, .. bytes[3..]]));
            }
        }
    }

    private static BlockedSubject? Read(string kind, string value, out string rule)
    {
        Assert.True(BlockedSubject.TryReadKind(kind, out var known));
        BlockedSubject.TryRead(known, value, out var subject, out rule);
        return subject;
    }
}
