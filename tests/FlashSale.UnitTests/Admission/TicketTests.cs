using System.Buffers.Text;
using FlashSale.Admission;
using FlashSale.Platform;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.UnitTests.Admission;

public sealed class TicketTests
{
    private const long Expiry = 1_795_000_000_000;

    private static readonly Tickets Ours = Signer(new string('k', 32));

    private static readonly Gen<string> Ids = Gen.Choose(1, 64).SelectMany(length => Gen.ArrayOf(Gen.Elements("abzAZ09._-:@".ToCharArray()), length)).Select(letters => new string(letters));

    private static readonly Gen<string> Users = Gen.Choose(1, 255).SelectMany(length => Gen.ArrayOf(Gen.Choose('!', '~').Select(c => (char)c), length)).Select(letters => new string(letters));

    [Fact]
    public void What_is_issued_is_read_back_as_reserve_lua_takes_it() => Check.QuickThrowOnFailure(Prop.ForAll(
        (from sale in Ids
         from user in Users
         from epoch in Gen.Choose(0, int.MaxValue)
         select (sale, user, epoch)).ToArbitrary(),
        drawn =>
        {
            var ticket = Issue(drawn.sale, drawn.user, drawn.epoch, Expiry);
            Assert.Matches("^[A-Za-z0-9_-]{80}$", ticket);
            var body = Ours.Read(ticket, drawn.sale, drawn.user)!;
            Assert.Equal(Base64Url.DecodeFromChars(ticket)[..28], body);
            Assert.Equal(Expiry, Number(body.AsSpan(16, 6)));
            Assert.Equal(drawn.epoch, Number(body.AsSpan(22, 6)));
        }));

    [Fact]
    public void Of_two_pairs_of_sale_and_user_the_ticket_of_one_is_none_for_the_other() => Check.QuickThrowOnFailure(Prop.ForAll(
        (from drawn in Gen.ArrayOf(Ids, 4) select drawn).ToArbitrary(),
        ids =>
        {
            var ticket = Issue(ids[0], ids[1], 1, Expiry);
            Assert.Equal((ids[0], ids[1]) == (ids[2], ids[3]), IsGood(Ours, ticket, ids[2], ids[3]));
            // No character may move from one id to the other.
            if (ids[1].Length > 1) Assert.False(IsGood(Ours, ticket, ids[0] + ids[1][0], ids[1][1..]));
        }));

    [Fact]
    public void No_two_tickets_are_the_same() =>
        Assert.Equal(1_000, Enumerable.Range(0, 1_000).Select(_ => Issue("s", "u", 1, Expiry)).Distinct().Count());

    [Fact]
    public void Whatever_bit_is_turned_it_is_none()
    {
        var ticket = Base64Url.DecodeFromChars(Issue("s1", "u", 3, Expiry));
        for (var bit = 0; bit < ticket.Length * 8; bit++)
        {
            ticket[bit / 8] ^= (byte)(1 << bit % 8);
            Assert.False(IsGood(Ours, Base64Url.EncodeToString(ticket), "s1", "u"), $"bit {bit}");
            ticket[bit / 8] ^= (byte)(1 << bit % 8);
        }
        Assert.True(IsGood(Ours, Base64Url.EncodeToString(ticket), "s1", "u"));
    }

    [Fact]
    public void A_ticket_has_one_spelling()
    {
        var ticket = Issue("s1", "u", 3, Expiry);
        foreach (var other in (string[])[ticket + "=", ticket + "\n", " " + ticket, ticket[..79], ticket + "A", ticket[..40] + " " + ticket[41..], ticket[..78] + "==", "", "-"])
            Assert.False(IsGood(Ours, other, "s1", "u"), other);
        Assert.False(IsGood(Ours, new([ticket, ticket]), "s1", "u"));
    }

    [Fact]
    public void Without_a_header_there_is_none() => Assert.Null(Ours.Read(default, "s1", "u"));

    [Fact]
    public void Another_key_signs_another_ticket_and_a_short_one_none()
    {
        Assert.False(IsGood(Signer(new string('l', 32)), Issue("s1", "u", 3, Expiry), "s1", "u"));
        var refused = Assert.Throws<InvalidSettingException>(() => Signer(new string('k', 31)));
        Assert.Contains("Admission:TicketKey", refused.Message);
        Assert.DoesNotContain("kkk", refused.Message);
        Signer(new string('ü', 16));
    }

    [Fact]
    public void Challenges_are_wanted_by_the_setting_or_by_a_level_that_asks_for_them()
    {
        var degradation = new Degradation(new DegradationOptions(), () => 0);
        Assert.True(new ChallengeSwitch(new AdmissionOptions { Challenge = "on" }, degradation).IsOn);
        var off = new ChallengeSwitch(new AdmissionOptions(), degradation);
        Assert.False(off.IsOn);
        degradation.Follow(new SwitchDocument(3, "a test", null, 0, 5, Features.None, Features.None));
        Assert.True(off.IsOn);
        degradation.Follow(new SwitchDocument(3, "a test", null, 0, 5, Features.TicketsWithoutChallenge, Features.None));
        Assert.False(off.IsOn);
    }

    // Builds the body of a ticket as admit.lua does: id | expiry | epoch.
    private static string Issue(string sale, string user, long epoch, long expiry)
    {
        byte[] body = [.. Tickets.NewId(), .. Six(expiry), .. Six(epoch)];
        Assert.Equal(expiry, Tickets.ExpiryOf(body));
        return Ours.Sign(sale, user, body);

        static byte[] Six(long number) => [.. Enumerable.Range(0, 6).Select(i => (byte)(number >> 40 - 8 * i))];
    }

    private static Tickets Signer(string key) => new(new AdmissionOptions { TicketKey = key });

    private static bool IsGood(Tickets tickets, Microsoft.Extensions.Primitives.StringValues header, string sale, string user) => tickets.Read(header, sale, user)!.Length == 28;

    private static long Number(ReadOnlySpan<byte> bytes)
    {
        var number = 0L;
        foreach (var part in bytes) number = number << 8 | part;
        return number;
    }
}
