using System.Security.Cryptography;
using System.Text;
using FlashSale.Orders;
using FlashSale.Platform;
using Microsoft.Extensions.Time.Testing;

namespace FlashSale.UnitTests.Orders;

public sealed class StandardWebhookTests
{
    private const string Id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    private const long SignedAt = 1614265330;
    private const string Timestamp = "1614265330";

    // This is the vector of the specification's reference libraries.
    private const string Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    private const string Signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    private static readonly byte[] Body = "{\"test\": 2432232314}"u8.ToArray();
    private static readonly string OtherSecret = "whsec_" + Convert.ToBase64String(Encoding.ASCII.GetBytes("another-secret-of-32-bytes-here!"));

    [Fact]
    public void The_published_vector_is_signed_and_verified()
    {
        Assert.Equal(Signature, With(Secret).Sign(Id, SignedAt, Body));
        Assert.Equal(WebhookSignature.Valid, With(Secret).Verify(Id, Timestamp, Signature, Body));
    }

    [Theory]
    [InlineData(0, WebhookSignature.Valid)]
    [InlineData(300, WebhookSignature.Valid)]
    [InlineData(301, WebhookSignature.TooOld)]
    [InlineData(-300, WebhookSignature.Valid)]
    [InlineData(-301, WebhookSignature.TooNew)]
    public void A_signature_is_good_for_five_minutes_either_way(int age, WebhookSignature expected) =>
        Assert.Equal(expected, With([Secret], SignedAt + age).Verify(Id, Timestamp, Signature, Body));

    [Fact]
    public void Whatever_is_changed_of_what_was_signed_spoils_it()
    {
        Assert.Equal(WebhookSignature.NotOurs, With(Secret).Verify(Id + "x", Timestamp, Signature, Body));
        Assert.Equal(WebhookSignature.NotOurs, With(Secret).Verify(Id, "1614265331", Signature, Body));
        Assert.Equal(WebhookSignature.NotOurs, With(Secret).Verify(Id, Timestamp, Signature, "{\"test\": 2432232315}"u8));
        Assert.Equal(WebhookSignature.NotOurs, With(Secret).Verify(Id, Timestamp, Signature, []));
        Assert.Equal(WebhookSignature.NotOurs, With(OtherSecret).Verify(Id, Timestamp, Signature, Body));
    }

    [Fact]
    public void Every_single_flipped_bit_of_a_signature_spoils_it()
    {
        var mac = Convert.FromBase64String(Signature[3..]);
        for (var bit = 0; bit < mac.Length * 8; bit++)
        {
            var forged = (byte[])mac.Clone();
            forged[bit / 8] ^= (byte)(1 << bit % 8);
            Assert.Equal(WebhookSignature.NotOurs, With(Secret).Verify(Id, Timestamp, "v1," + Convert.ToBase64String(forged), Body));
        }
    }

    [Theory]
    [InlineData("v1,")]
    [InlineData("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1O==")]
    [InlineData("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE")]
    [InlineData("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=AAAA")]
    [InlineData("v1,g0hM")]
    [InlineData("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")]
    [InlineData("V1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")]
    [InlineData("v1 ,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")]
    [InlineData("v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")]
    [InlineData("v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")]
    [InlineData("v1,????????????????????????????????????????????")]
    [InlineData(" ")]
    public void Truncated_padded_or_of_another_version_is_not_ours(string signature) =>
        Assert.Equal(WebhookSignature.NotOurs, With(Secret).Verify(Id, Timestamp, signature, Body));

    [Theory]
    [InlineData(null, Timestamp, Signature)]
    [InlineData("", Timestamp, Signature)]
    [InlineData("with space", Timestamp, Signature)]
    [InlineData("with.dot", Timestamp, Signature)]
    [InlineData(Id, null, Signature)]
    [InlineData(Id, "", Signature)]
    [InlineData(Id, "soon", Signature)]
    [InlineData(Id, "-1614265330", Signature)]
    [InlineData(Id, "1614265330.0", Signature)]
    [InlineData(Id, " 1614265330", Signature)]
    [InlineData(Id, "99999999999999999999", Signature)]
    [InlineData(Id, Timestamp, null)]
    [InlineData(Id, Timestamp, "")]
    public void A_missing_or_odd_header_is_told_as_such(string? id, string? timestamp, string? signature) =>
        Assert.Equal(WebhookSignature.Malformed, With(Secret).Verify(id, timestamp, signature, Body));

    [Fact]
    public void An_id_may_be_as_long_as_the_receipts_column_and_no_longer()
    {
        var id = new string('x', StandardWebhook.MaxIdLength);
        Assert.Equal(WebhookSignature.Valid, With(Secret).Verify(id, Timestamp, With(Secret).Sign(id, SignedAt, Body), Body));
        Assert.Equal(WebhookSignature.Malformed, With(Secret).Verify(id + "x", Timestamp, With(Secret).Sign(id + "x", SignedAt, Body), Body));
    }

    [Fact]
    public void A_dot_cannot_be_moved_from_the_id_into_the_body()
    {
        // "a.1614265330.1614265330.x" could be read as id "a.1614265330" or as a body that begins with a timestamp.
        var moved = With(Secret).Sign("a", SignedAt, "1614265330.x"u8);
        Assert.Equal(WebhookSignature.Malformed, With(Secret).Verify("a.1614265330", Timestamp, moved, "x"u8));
    }

    [Fact]
    public void One_good_signature_among_several_is_enough()
    {
        var other = With(OtherSecret).Sign(Id, SignedAt, Body);
        Assert.Equal(WebhookSignature.Valid, With(Secret).Verify(Id, Timestamp, $"v2,whatever {other} v1a,xx {Signature}", Body));
        Assert.Equal(WebhookSignature.NotOurs, With(Secret).Verify(Id, Timestamp, $"{other} {other}", Body));
        // Only spaces may separate signatures.
        Assert.Equal(WebhookSignature.NotOurs, With(Secret).Verify(Id, Timestamp, $"{other},{Signature}", Body));
    }

    [Fact]
    public void During_a_rotation_both_secrets_are_good_and_the_new_one_signs()
    {
        var rotating = With([OtherSecret, Secret], SignedAt);
        Assert.Equal(WebhookSignature.Valid, rotating.Verify(Id, Timestamp, Signature, Body));
        Assert.Equal(WebhookSignature.Valid, With(OtherSecret).Verify(Id, Timestamp, rotating.Sign(Id, SignedAt, Body), Body));
    }

    [Theory]
    [InlineData("")]
    [InlineData("whsec_")]
    [InlineData("whsec_c2hvcnQ=")]
    [InlineData("whsec_not base64 at all, but long enough to be one")]
    [InlineData("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    [InlineData("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    public void What_is_no_secret_is_refused_by_name_and_not_shown(string secret)
    {
        Assert.False(StandardWebhook.TryReadSecret(secret, out _));
        var current = Assert.Throws<InvalidSettingException>(() => new WebhookOptions { Secret = secret }.Read(TimeProvider.System));
        Assert.StartsWith("Webhook:Secret = (hidden): must be whsec_", current.Message, StringComparison.Ordinal);
        if (secret.Length == 0) return;
        var previous = Assert.Throws<InvalidSettingException>(() => new WebhookOptions { Secret = Secret, PreviousSecret = secret }.Read(TimeProvider.System));
        Assert.StartsWith("Webhook:PreviousSecret = (hidden)", previous.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(23, false)]
    [InlineData(24, true)]
    [InlineData(64, true)]
    [InlineData(65, false)]
    public void A_secret_has_24_to_64_bytes(int bytes, bool good) =>
        Assert.Equal(good, StandardWebhook.TryReadSecret("whsec_" + Convert.ToBase64String(RandomNumberGenerator.GetBytes(bytes)), out _));

    private static StandardWebhook With(string secret) => With([secret], SignedAt);

    private static StandardWebhook With(string[] secrets, long now) =>
        new([.. secrets.Select(secret => StandardWebhook.TryReadSecret(secret, out var key) ? key : throw new InvalidOperationException(secret))], new FakeTimeProvider(DateTimeOffset.FromUnixTimeSeconds(now)));
}
