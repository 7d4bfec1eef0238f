using FlashSale.LoadTests.Verdicts;
using Npgsql;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A fresh database on a Postgres server.</summary>
public sealed class Database : IAsyncDisposable
{
    private readonly string _serverUrl;
    private readonly string _name = $"flashsale_test_{Guid.NewGuid():N}";

    private Database(string serverUrl)
    {
        _serverUrl = serverUrl;
        var uri = new UriBuilder(serverUrl) { Path = "/" + _name };
        Url = uri.Uri.AbsoluteUri;
        Source = NpgsqlDataSource.Create(ConnectionString(Url, pooling: true));
    }

    /// <summary>The libpq URI, for the hosts.</summary>
    public string Url { get; }

    /// <summary>The connections of the tests.</summary>
    public NpgsqlDataSource Source { get; }

    /// <summary>libpq URI of this database on a standby of its server.</summary>
    public string UrlOn(PostgresServer standby) => new UriBuilder(standby.Url) { Path = "/" + _name }.Uri.AbsoluteUri;

    public static async Task<Database> CreateAsync(string serverUrl)
    {
        var database = new Database(serverUrl);
        await database.OnServerAsync($"create database {database._name}");
        return database;
    }

    /// <summary>Reads a libpq URI without the product's code.</summary>
    public static string ConnectionString(string url, bool pooling) =>
        new NpgsqlConnectionStringBuilder(Verdict.ConnectionString(url)) { Pooling = pooling, MaxPoolSize = 10 }.ConnectionString;

    /// <summary>Ends the sessions that wait for a lock in this database.</summary>
    public Task EndOtherSessionsAsync() =>
        OnServerAsync($"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{_name}' and wait_event_type = 'Lock'");

    public async ValueTask DisposeAsync()
    {
        await Source.DisposeAsync();
        await OnServerAsync($"drop database if exists {_name} with (force)");
    }

    private async Task OnServerAsync(string sql)
    {
        await using var connection = new NpgsqlConnection(ConnectionString(_serverUrl, pooling: false));
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }
}
