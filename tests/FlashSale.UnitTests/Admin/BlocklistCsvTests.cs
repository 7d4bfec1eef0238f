using System.Text;
using FlashSale.Admin.Blocklist;
using FlashSale.Admin.Http;
using FlashSale.Admission;

namespace FlashSale.UnitTests.Admin;

public sealed class BlocklistCsvTests
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public async Task Lines_are_entries_in_their_normal_spelling()
    {
        var (entries, errors) = await ReadAsync("until,reason,value,kind\n,\"bots, many\",::ffff:203.0.113.7,ip\n2030-01-01T01:00:00+00:30,r,2001:DB8::/32,cidr\n,ü,u-1,user\n,r,app,client\n");
        Assert.False(errors.Any);
        Assert.Equal([("ip", "203.0.113.7", "bots, many", null), ("cidr", "2001:db8::/32", "r", Now.AddMinutes(30)), ("user", "u-1", "ü", null), ("client", "app", "r", null)],
            entries.Select(entry => (BlockedSubject.Text(entry.Subject.Kind), entry.Subject.Value, entry.Reason, entry.Until)));
    }

    [Theory]
    [InlineData("users,u,r,", "kind must be user, ip, cidr or client")]
    [InlineData("user,u u,r,", "value must be 1 to 255")]
    [InlineData("cidr,10.0.0.0/7,r,", "value must be a network with a prefix of /8 to /32")]
    [InlineData("user,u,,", "reason must be 1 to 500")]
    [InlineData("user,u,r,tomorrow", "until must be a time as of RFC 3339")]
    [InlineData("user,u,r,2030-01-01T00:00:00Z", "until must be a time in the future")]
    [InlineData("user,u,r", "has 3 fields; the header has 4")]
    public async Task A_line_that_is_no_entry_is_told(string line, string told)
    {
        var (entries, errors) = await ReadAsync($"kind,value,reason,until\nuser,a,r,\n{line}\n");
        Assert.Single(entries);
        var error = Assert.Single(errors.ToProblem());
        Assert.Equal(3, error.Line);
        Assert.StartsWith(told, error.Message);
    }

    private static async Task<(List<BlockDraft> Entries, LineErrors Errors)> ReadAsync(string file)
    {
        var errors = new LineErrors();
        using var csv = new BlocklistCsv(new MemoryStream(Encoding.UTF8.GetBytes(file)), errors, Now);
        var entries = new List<BlockDraft>();
        if (await csv.ReadHeaderAsync(CancellationToken.None))
        {
            while (await csv.ReadEntryAsync(CancellationToken.None) is { } entry) entries.Add(entry);
        }
        return (entries, errors);
    }
}
