using FlashSale.Platform;
using Npgsql;

namespace FlashSale.UnitTests.Platform;

/// <summary>
/// A libpq URI is honoured to its last parameter, or refused with the name of the part that cannot be honoured.
/// </summary>
public sealed class PostgresUrlTests
{
    [Theory]
    [InlineData("postgresql://me:p%40ss@db.example:5433/shop", "db.example", 5433, "me", "p@ss", "shop")]
    [InlineData("postgres://me@localhost/shop", "localhost", 5432, "me", null, "shop")]
    [InlineData("postgresql://localhost/shop", "localhost", 5432, null, null, "shop")]
    [InlineData("postgresql://me:a:b@[::1]:5433/a%2Fb", "[::1]", 5433, "me", "a:b", "a/b")]
    [InlineData("postgresql://me@%2Frun%2Fpostgresql/shop", "/run/postgresql", 5432, "me", null, "shop")]
    [InlineData("postgresql://me:a#b@h/shop", "h", 5432, "me", "a#b", "shop")]
    public void A_libpq_URI_is_read(string url, string host, int port, string? user, string? password, string database)
    {
        var connection = PostgresUrl.Read(url);
        Assert.Equal((host, port, user, password, database), (connection.Host, connection.Port, connection.Username, connection.Password, connection.Database));
    }

    [Theory]
    [InlineData("")]
    [InlineData("Host=localhost")]
    [InlineData("mysql://localhost/shop")]
    [InlineData("postgresql://localhost")]
    [InlineData("postgresql://localhost/")]
    [InlineData("postgresql://localhost?sslmode=require")]
    [InlineData("postgresql:///shop")]
    [InlineData("postgresql://h,/shop")]
    [InlineData("postgresql://::1/shop")]
    public void Anything_else_is_refused(string url) =>
        Assert.Equal("Postgres:Url = (hidden): must be postgresql://user:password@host:port/database.", Refusal(url));

    [Theory]
    [InlineData("disable", SslMode.Disable)]
    [InlineData("allow", SslMode.Allow)]
    [InlineData("prefer", SslMode.Prefer)]
    [InlineData("require", SslMode.Require)]
    [InlineData("verify-ca", SslMode.VerifyCA)]
    [InlineData("verify-full", SslMode.VerifyFull)]
    public void Its_sslmode_holds(string mode, SslMode expected) => Assert.Equal(expected, PostgresUrl.Read($"postgresql://u@h/d?sslmode={mode}").SslMode);

    [Theory]
    [InlineData("require", SslMode.VerifyCA)]
    [InlineData("verify-ca", SslMode.VerifyCA)]
    [InlineData("verify-full", SslMode.VerifyFull)]
    public void An_authority_that_is_named_is_asked(string mode, SslMode expected)
    {
        var file = Path.GetTempFileName();
        try
        {
            var connection = PostgresUrl.Read($"postgresql://u@h/d?sslmode={mode}&sslrootcert={Uri.EscapeDataString(file)}");
            Assert.Equal((expected, file), (connection.SslMode, connection.RootCertificate));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void The_authorities_of_the_machine_check_in_full() =>
        Assert.Equal((SslMode.VerifyFull, null), (PostgresUrl.Read("postgresql://u@h/d?sslrootcert=system").SslMode, PostgresUrl.Read("postgresql://u@h/d?sslrootcert=system").RootCertificate));

    [Fact]
    public void The_other_parameters_hold_too()
    {
        var connection = PostgresUrl.Read("postgresql://u@h/d?application_name=our%20shop&connect_timeout=7&channel_binding=require&sslnegotiation=direct&sslmode=require&gssencmode=disable");
        Assert.Equal(("our shop", 7, ChannelBinding.Require, SslNegotiation.Direct, GssEncryptionMode.Disable),
            (connection.ApplicationName, connection.Timeout, connection.ChannelBinding, connection.SslNegotiation, connection.GssEncryptionMode));
    }

    [Theory]
    [InlineData("postgresql://u@a:1,b/d", "a:1,b:5432", "read-write")]
    [InlineData("postgresql://u@a,b/d?target_session_attrs=primary", "a:5432,b:5432", "primary")]
    [InlineData("postgresql://u@[::1]:1,[::2]/d", "[::1]:1,[::2]:5432", "read-write")]
    public void Of_several_hosts_the_one_that_takes_writes_is_used_and_soon_found_anew(string url, string hosts, string target)
    {
        var connection = PostgresUrl.Read(url);
        Assert.Equal((hosts, target, 1), (connection.Host, connection.TargetSessionAttributes, connection.HostRecheckSeconds));
    }

    [Fact]
    public void A_replica_may_be_any_of_several_or_a_standby()
    {
        Assert.Equal("any", PostgresUrl.ReadReplica("postgresql://u@a,b/d").TargetSessionAttributes);
        Assert.Equal("prefer-standby", PostgresUrl.ReadReplica("postgresql://u@a,b/d?target_session_attrs=prefer-standby").TargetSessionAttributes);
    }

    [Fact]
    public void Replicas_are_not_used_in_turns_since_the_lag_of_one_says_nothing_of_another() =>
        Assert.Contains("'load_balance_hosts' is not possible", Assert.Throws<InvalidSettingException>(() => PostgresUrl.ReadReplica("postgresql://u@a,b/d?load_balance_hosts=random")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("?nosuch=1", "'nosuch' cannot be honoured", "sslmode")]
    [InlineData("?user=me", "'user' cannot be honoured")]
    [InlineData("?options=-c%20geqo%3Doff", "'options' cannot be honoured")]
    [InlineData("?sslmode=sometimes", "'sslmode=sometimes'", "verify-full")]
    [InlineData("?sslmode=require&sslmode=disable", "'sslmode' is there twice")]
    [InlineData("?sslrootcert=/nowhere/ca.crt&sslmode=verify-full", "'sslrootcert=/nowhere/ca.crt'", "no such file")]
    [InlineData("?sslrootcert=/etc/hostname", "'sslrootcert' needs sslmode")]
    [InlineData("?sslrootcert=/etc/hostname&sslmode=prefer", "'sslrootcert' needs sslmode")]
    [InlineData("?sslrootcert=system&sslmode=require", "needs sslmode=verify-full")]
    [InlineData("?sslkey=/nowhere/key", "'sslkey=/nowhere/key'")]
    [InlineData("?connect_timeout=0", "'connect_timeout=0'", "1 to 60")]
    [InlineData("?connect_timeout=soon", "'connect_timeout=soon'")]
    [InlineData("?target_session_attrs=standby", "'target_session_attrs=standby'", "read-write, primary")]
    [InlineData("?load_balance_hosts=random", "'load_balance_hosts' needs several hosts")]
    [InlineData("?application_name=%zz", "%25")]
    [InlineData("?sslmode", "parameter=value")]
    public void A_parameter_that_cannot_be_honoured_is_refused_by_name(string query, params string[] told) =>
        Assert.All(told, part => Assert.Contains(part, Refusal("postgresql://me:hush-hush@h/d" + query), StringComparison.Ordinal));

    [Fact]
    public void One_replica_cannot_be_chosen() =>
        Assert.Contains("needs several hosts", Assert.Throws<InvalidSettingException>(() => PostgresUrl.ReadReplica("postgresql://u@h/d?target_session_attrs=standby")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("postgresql://me:hush/hush@h/d")]
    [InlineData("postgresql://me:hush?hush@h/d")]
    [InlineData("postgresql://me:5/hu?hush@h/d?sslmode=require")]
    [InlineData("postgresql://me:hush%hush@h/d")]
    public void A_password_that_is_not_encoded_is_not_shown(string url) => Assert.DoesNotContain("hush", Refusal(url), StringComparison.Ordinal);

    private static string Refusal(string url) => Assert.Throws<InvalidSettingException>(() => PostgresUrl.Read(url)).Message;
}
