using FlashSale.Contracts;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.UnitTests.Contracts;

public sealed class ReservationCodecTests
{
    private static readonly Guid Id = Guid.Parse("0197a1b2-3c4d-8e5f-8000-05090a0b0c0d");

    [Fact]
    public void What_was_encoded_is_decoded()
    {
        var texts = Gen.Choose(1, 64).SelectMany(n => Gen.ArrayOf(Gen.Choose('!', '~').Select(c => (char)c), n)).Select(c => new string(c));
        var keys = Gen.Choose(1, 255).SelectMany(n => Gen.ArrayOf(Gen.Choose('!', '~').Select(c => (char)c), n)).Select(c => new string(c));
        var records = from sku in texts
                      from user in keys
                      from key in keys
                      from quantity in Gen.Choose(1, 1000)
                      from item in Gen.Choose(1, int.MaxValue)
                      from price in Gen.Choose(0, int.MaxValue)
                      select new Reservation(Id, item, sku, user, key, quantity, (long)price * quantity, "EUR", 1_700_000_000_000);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(500), Prop.ForAll(records.ToArbitrary(), record =>
        {
            var bytes = ReservationCodec.Encode(record.OrderId, 42, record.ItemNumber, record.Sku, record.UserId, record.Key, record.Quantity, record.Amount, record.Currency);
            var (decoded, length) = ReservationCodec.Decode((byte[])[.. bytes, 1, 2, 3], record.AcceptedAt);
            Assert.Equal(record, decoded);
            Assert.Equal(bytes.Length, length);
            Assert.Equal(3, ReservationCodec.Count((byte[])[.. bytes, .. bytes, .. bytes]));
        }));
    }

    [Fact]
    public void A_record_that_is_cut_anywhere_is_refused()
    {
        var bytes = ReservationCodec.Encode(Id, 42, 1, "sku", "user", "key", 1, 100, "CNY");
        for (var length = 1; length < bytes.Length; length++)
        {
            var cut = bytes[..length];
            Assert.Throws<FormatException>(() => ReservationCodec.Decode(cut, 0));
            Assert.Throws<FormatException>(() => ReservationCodec.Count(cut));
        }
    }
}
