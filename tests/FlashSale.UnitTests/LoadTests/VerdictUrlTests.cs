using FlashSale.LoadTests.Verdicts;
using Npgsql;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>The judge reaches Postgres as its URI demands, or not at all.</summary>
public sealed class VerdictUrlTests
{
    [Fact]
    public void The_demand_for_TLS_holds()
    {
        var connection = new NpgsqlConnectionStringBuilder(
            Verdict.ConnectionString("postgresql://u:p%40@h:1/d?sslmode=verify-full&sslrootcert=%2Fca.crt"));
        Assert.Equal((SslMode.VerifyFull, "/ca.crt", "p@"), (connection.SslMode, connection.RootCertificate, connection.Password));
    }

    [Theory]
    [InlineData("postgresql://u@h/d?nosuch=1")]
    [InlineData("postgresql://u@h/d?sslmode=sometimes")]
    [InlineData("postgresql://u@a:1,b:2/d")]
    public void Anything_that_is_not_understood_is_refused(string url) =>
        Assert.Throws<ArgumentException>(() => Verdict.ConnectionString(url));
}
