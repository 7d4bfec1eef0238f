using FlashSale.Contracts;

namespace FlashSale.UnitTests.Contracts;

public sealed class OrderIdTests
{
    private const long Time = 1_763_668_800_123;

    [Theory]
    [InlineData(1)]
    [InlineData(0x2A_BCDE)]
    [InlineData(OrderId.MaxSaleNumber)]
    public void It_is_a_version_8_UUID_that_names_its_sale(int saleNumber)
    {
        var id = OrderId.New(Time, 0xFFF0_0000_0000_0000, saleNumber);
        Assert.Equal(8, id.Version);
        Assert.Equal('8', id.ToString()[14]);
        Assert.Contains(id.ToString()[19], "89ab");
        Assert.True(OrderId.TryGetSaleNumber(id, out var read));
        Assert.Equal(saleNumber, read);
    }

    [Fact]
    public void All_orders_of_a_user_have_the_same_shard_and_users_spread_over_all_of_them()
    {
        var user = Fingerprints.OfUser("alice");
        Assert.Equal(OrderId.ShardOf(OrderId.New(Time, user, 1)), OrderId.ShardOf(OrderId.New(Time + 5_000, user, 9)));
        var shards = Enumerable.Range(0, 40_000).Select(i => OrderId.ShardOf(OrderId.New(Time, Fingerprints.OfUser($"user-{i}"), 1))).ToHashSet();
        Assert.InRange(shards.Count, OrderId.Shards * 99 / 100, OrderId.Shards);
    }

    [Fact]
    public void Ids_sort_by_time_as_text_and_as_bytes()
    {
        var ids = Enumerable.Range(0, 1_000).Select(i => OrderId.New(Time + i, (ulong)Random.Shared.NextInt64(), 5)).ToList();
        Assert.Equal(ids, ids.OrderBy(id => id.ToString(), StringComparer.Ordinal));
        Assert.Equal(ids, ids.OrderBy(id => Convert.ToHexString(id.ToByteArray(bigEndian: true)), StringComparer.Ordinal));
    }

    [Fact]
    public void It_cannot_be_guessed_from_another()
    {
        var ids = Enumerable.Range(0, 10_000).Select(_ => OrderId.New(Time, 1, 1)).ToHashSet();
        Assert.Equal(10_000, ids.Count);
    }

    [Fact]
    public async Task Threads_that_issue_ids_at_once_never_issue_the_same()
    {
        const int Threads = 8, Each = 20_000;
        var ids = await Task.WhenAll(Enumerable.Range(0, Threads).Select(_ => Task.Run(() => Enumerable.Range(0, Each).Select(_ => OrderId.New(Time, 1, 1)).ToArray())));
        // Of so many ids with 40 random bits two are the same in one run of a hundred, three pairs in one of millions.
        // Threads that shared their bytes would issue thousands twice.
        Assert.InRange(ids.SelectMany(id => id).Distinct().Count(), (Threads * Each) - 2, Threads * Each);
    }

    [Theory]
    [InlineData("00000000-0000-0000-0000-000000000000")]
    [InlineData("0197a1b2-3c4d-4e5f-8607-08090a0b0c0d")]
    [InlineData("0197a1b2-3c4d-8e5f-c607-08090a0b0c0d")]
    [InlineData("0197a1b2-3c4d-8e5f-8000-00090a0b0c0d")]
    public void Other_UUIDs_name_no_sale(string text) => Assert.False(OrderId.TryGetSaleNumber(Guid.Parse(text), out _));

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(OrderId.MaxSaleNumber + 1)]
    public void A_sale_number_that_does_not_fit_is_refused(int saleNumber) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => OrderId.New(Time, 1, saleNumber));

    [Fact]
    public void Key_fingerprints_tell_users_and_keys_apart()
    {
        Assert.NotEqual(OfKey("a", "bc"), OfKey("ab", "c"));
        Assert.NotEqual(OfKey("a", "b"), OfKey("b", "b"));
        // The separator between user and key may be a part of either.
        Assert.NotEqual(OfKey("a|b", "c"), OfKey("a", "b|c"));
        Assert.NotEqual(OfKey("a|", "b"), OfKey("a", "|b"));
        Assert.NotEqual(OfKey("a||b", "c"), OfKey("a|", "b|c"));
        // Redis knows the orders of a running sale by this fingerprint, so its value must not change.
        Assert.Equal("A52DD81BFD5E4E66D96B9F598382F6CB", OfKey("a", "b|c"));
        Assert.Equal(OfKey(new string('|', 255), new string('~', 255)), OfKey(new string('|', 255), new string('~', 255)));

        static string OfKey(string user, string key)
        {
            var fingerprint = new byte[Fingerprints.KeySize];
            Fingerprints.OfKey(user, key, fingerprint);
            return Convert.ToHexString(fingerprint);
        }
    }
}
