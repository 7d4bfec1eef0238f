using FlashSale.Admission;
using FlashSale.Platform;
using Microsoft.OpenApi;

namespace FlashSale.Api.Admission;

/// <summary>Adds admission to the host.</summary>
public static class AdmissionModule
{
    /// <summary>
    /// Registers the endpoint with its tickets, challenges and script. Settings: section <c>Admission</c>.
    /// </summary>
    public static void AddAdmission(this WebApplicationBuilder builder)
    {
        var options = builder.Services.AddSettings<AdmissionOptions>(builder.Configuration, "Admission");
        builder.Services.AddSingleton(new Tickets(options));
        builder.Services.AddSingleton(new Challenges(options));
        builder.Services.AddSingleton<ChallengeSwitch>();
        builder.Services.AddSingleton<AdmitScript>();
        builder.Services.AddSingleton<AdmissionEndpoint>();
    }

    /// <summary>Maps POST /api/v1/sales/{saleId}/admission.</summary>
    public static void MapAdmission(this WebApplication app) =>
        app.MapPost("/api/v1/sales/{saleId}/admission", (HttpContext context, string saleId, AdmissionEndpoint admission) => admission.AdmitAsync(context, saleId))
            .WithSummary("Gives a ticket for a purchase")
            .Accepts<AdmissionForm>(isOptional: true, "application/json").Produces<TicketPage>().ProducesErrors(400, 401, 403, 404, 409, 413, 415, 425, 429, 503);

    /// <summary>Adds the ticket's header to an endpoint's OpenAPI parameters, after its other ones.</summary>
    public static RouteHandlerBuilder TakesTicket(this RouteHandlerBuilder endpoint) => endpoint.Takes(
        ParameterLocation.Header, Tickets.Header, "The ticket of an admission, where the sale requires one.",
        new OpenApiSchema { Type = JsonSchemaType.String, MinLength = Tickets.Length, MaxLength = Tickets.Length });
}
