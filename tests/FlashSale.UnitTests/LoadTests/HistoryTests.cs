using FlashSale.LoadTests.Verdicts;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>The record of a run comes back as it was written, or not at all.</summary>
public sealed class HistoryTests : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"history-{Guid.NewGuid():N}");

    [Fact]
    public async Task Answers_come_back_as_they_were_told_in_their_order()
    {
        Told[] told =
        [
            new(1, 2, "user", "key", "sku", 3, 202, "", Guid.NewGuid(), true, ulong.MaxValue),
            new(long.MaxValue, long.MinValue, new string('u', 64), new string('k', 255), new string('s', 64), int.MaxValue, 503, "outcome_unknown", Guid.Empty, false, 0),
            new(0, 0, "", "", "", 0, 0, "", Guid.Empty, false, 0),
        ];
        await using (var history = History.Create(_path))
        {
            foreach (var answer in told) history.Add(answer);
            Assert.Equal(3, history.Count);
        }
        Assert.Equal(told, History.Read(_path));
    }

    [Fact]
    public async Task Many_shoppers_at_once_lose_nothing()
    {
        await using (var history = History.Create(_path))
        {
            Parallel.For(0, 8, shopper =>
            {
                for (var i = 0; i < 25_000; i++) history.Add(new Told(i, i, $"user-{shopper}", $"key-{i}", "sku", 1, 409, "sold_out", Guid.Empty, false, 0));
            });
        }
        var read = History.Read(_path).GroupBy(told => told.UserId).ToDictionary(group => group.Key, group => group.Select(told => told.StartedMicroseconds).ToArray());
        Assert.Equal(8, read.Count);
        Assert.All(read.Values, order => Assert.Equal(Enumerable.Range(0, 25_000).Select(i => (long)i), order));
    }

    [Fact]
    public async Task A_million_answers_take_bounded_memory()
    {
        const long MostBytes = 72 << 20;
        var told = new Told(1, 2, "user-of-a-run-1234567", "key-1234567", "sku-1", 1, 409, "sold_out", Guid.Empty, false, 0);
        await using (var history = History.Create(_path))
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 1_000_000; i++) history.Add(told);
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MostBytes);
        }
        Assert.True(new FileInfo(_path).Length > MostBytes, "the test writes too little to show it");
        Assert.Equal(1_000_000, History.Read(_path).LongCount());
    }

    [Fact]
    public async Task A_history_that_was_cut_off_is_none()
    {
        await using (var history = History.Create(_path)) history.Add(new Told(1, 2, "user", "key", "sku", 1, 202, "", Guid.NewGuid(), false, 1));
        var whole = await File.ReadAllBytesAsync(_path);
        for (var length = 0; length < whole.Length; length++)
        {
            await File.WriteAllBytesAsync(_path, whole[..length]);
            Assert.Throws<InvalidDataException>(() => History.Read(_path).Count());
        }
    }

    [Fact]
    public async Task A_history_that_is_closed_takes_no_answer()
    {
        var history = History.Create(_path);
        await history.DisposeAsync();
        await history.DisposeAsync();
        Assert.Throws<InvalidOperationException>(() => history.Add(default(Told) with { UserId = "", Key = "", Sku = "", Code = "" }));
        Assert.Empty(History.Read(_path));
    }

    [Fact]
    public void Bodies_that_differ_in_a_byte_have_other_hashes()
    {
        var body = "{\"orderId\":\"0192a4c1-0000-8000-8000-000000000000\",\"saleId\":\"s1\"}"u8.ToArray();
        var hashes = new HashSet<ulong> { Told.HashOf(body), Told.HashOf([.. body, 0]), Told.HashOf(body.AsSpan(1)) };
        Assert.Equal(3, hashes.Count);
        for (var i = 0; i < body.Length; i++)
        {
            var other = (byte[])body.Clone();
            other[i] ^= 1;
            Assert.True(hashes.Add(Told.HashOf(other)), $"byte {i}");
        }
    }

    [Theory]
    [InlineData(202, """{"orderId":"0192a4c1-0000-8000-8000-000000000001","saleId":"s1","status":"accepted"}""", "", "0192a4c1-0000-8000-8000-000000000001", false)]
    [InlineData(409, """{"title":"x","code":"sold_out","traceId":"1"}""", "sold_out", null, false)]
    [InlineData(503, """{"code":"outcome_unknown"}""", "outcome_unknown", null, true)]
    [InlineData(503, """{"code":"overloaded"}""", "overloaded", null, false)]
    [InlineData(502, "<html>a proxy</html>", "", null, true)]
    [InlineData(0, "", "", null, true)]
    public void An_answer_is_read_as_it_came(int status, string body, string code, string? orderId, bool isUnknown)
    {
        var told = Told.Of(1, 2, "user", "key", "sku", 1, status, System.Text.Encoding.UTF8.GetBytes(body), isReplay: false);
        Assert.Equal((status, code, orderId is null ? Guid.Empty : Guid.Parse(orderId), isUnknown), (told.Status, told.Code, told.OrderId, told.IsUnknown));
    }

    public void Dispose() => File.Delete(_path);
}
