using FlashSale.Platform;
using Npgsql;

namespace FlashSale.UnitTests.Platform;

/// <summary>Failures of Postgres that mean "away" are told from failures that mean "this is wrong".</summary>
public sealed class PostgresErrorsTests
{
    [Theory]
    [InlineData("08000"), InlineData("08001"), InlineData("08003"), InlineData("08004"), InlineData("08006"), InlineData("08P01")]
    [InlineData("25006"), InlineData("25P03"), InlineData("25P04")]
    [InlineData("28000"), InlineData("28P01"), InlineData("3D000")]
    [InlineData("53000"), InlineData("53100"), InlineData("53200"), InlineData("53300")]
    [InlineData("57014"), InlineData("57P01"), InlineData("57P02"), InlineData("57P03"), InlineData("57P04"), InlineData("57P05")]
    [InlineData("58000"), InlineData("58030")]
    public void A_server_that_is_away_full_or_read_only_speaks_against_it(string state) =>
        Assert.Equal((true, true), (Postgres.IsTransient(Error(state)), Postgres.IsAway(Error(state))));

    [Theory]
    [InlineData("40001"), InlineData("40P01"), InlineData("55P03")]
    public void A_lock_or_a_deadlock_is_worth_another_try_and_no_outage(string state) =>
        Assert.Equal((true, false), (Postgres.IsTransient(Error(state)), Postgres.IsAway(Error(state))));

    [Theory]
    [InlineData("22001"), InlineData("23505"), InlineData("25001"), InlineData("25P02"), InlineData("42501"), InlineData("42P01"), InlineData("XX000")]
    public void A_defect_is_neither(string state) => Assert.Equal((false, false), (Postgres.IsTransient(Error(state)), Postgres.IsAway(Error(state))));

    [Fact]
    public void No_host_of_several_that_suits_is_an_outage() => Assert.True(Postgres.IsAway(new NpgsqlException("No suitable host was found.")));

    [Fact]
    public void Only_a_failure_that_waiting_cannot_mend_is_a_wrong_setting()
    {
        Assert.Null(Postgres.Misconfigured(Error("57P03")));
        // PgBouncer reports every error by this code, even that a server is away.
        Assert.Null(Postgres.Misconfigured(Error("08P01", "server login has been failing, try again later (server_login_retry)")));
        Assert.Contains("ignore_startup_parameters", Postgres.Misconfigured(Error("08P01", "unsupported startup parameter: options"))!.Message, StringComparison.Ordinal);
    }

    private static PostgresException Error(string state, string message = "it failed") => new(message, "ERROR", "ERROR", state);
}
