using FlashSale.LoadTests.Targets;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>Tests how the target of a run is read from the file that up.sh writes.</summary>
public sealed class TargetTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    [Fact]
    public void The_file_is_read_as_a_shell_reads_it()
    {
        Write("FLASHSALE_POSTGRES='postgresql://u:p'\\''w@h:1/d?a=b&c'", "FLASHSALE_PID_API=17");
        var target = Target.Load(_file, _ => null);
        Assert.Equal(("http://127.0.0.1:1/", "postgresql://u:p'w@h:1/d?a=b&c", 17, "local-1"), (target.Api.AbsoluteUri, target.Postgres, target.Processes["api"], target.JwtKid));
        Assert.Null(target.Payments);
    }

    [Fact]
    public void Processes_of_another_machine_are_none_of_this_one()
    {
        Write("FLASHSALE_PID_API=17", "FLASHSALE_API_URL=http://shop.internal:8080");
        Assert.Empty(Target.Load(_file, _ => null).Processes);
    }

    [Fact]
    public void What_the_environment_sets_wins_over_the_file()
    {
        Write("FLASHSALE_REDIS=file:1");
        Assert.Equal("set:2", Target.Load(_file, name => name == "FLASHSALE_REDIS" ? "set:2" : null).Redis);
    }

    [Theory]
    [InlineData("FLASHSALE_API_URL=", "FLASHSALE_API_URL")]
    [InlineData("FLASHSALE_ADMIN_URL=not-an-address", "FLASHSALE_ADMIN_URL is not-an-address")]
    [InlineData("FLASHSALE_JWT_KEY=", "FLASHSALE_JWT_KEY")]
    public void What_is_missing_or_wrong_is_named(string line, string told)
    {
        Write(line);
        var error = Assert.Throws<InvalidDataException>(() => Target.Load(_file, _ => null));
        Assert.Contains(told, error.Message, StringComparison.Ordinal);
    }

    public void Dispose() => File.Delete(_file);

    // If a name has two lines, the later one counts.
    private void Write(params string[] lines) => File.WriteAllLines(_file,
    [
        "FLASHSALE_API_URL=http://127.0.0.1:1", "FLASHSALE_ADMIN_URL=http://127.0.0.1:2", "FLASHSALE_WORKER_URL=http://127.0.0.1:3", "FLASHSALE_ADMIN_TOKEN=t", "FLASHSALE_JWT_KEY=k",
        "FLASHSALE_JWT_ISSUER=i", "FLASHSALE_JWT_AUDIENCE=a", "FLASHSALE_REDIS=h:1", "FLASHSALE_POSTGRES=postgresql://h/d", .. lines,
    ]);
}
